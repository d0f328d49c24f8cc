//! Which call on a socket asked for what, and which answered it: HTTP/2 frames put together from reads and writes.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use mesh_client::proto::{PutRequest, PutResponse};
use prost::Message;

use super::KEYS;
use super::trace::Trace;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const PADDED: u8 = 8;

/// A write that a client asked for, and its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
    /// Line at which the broker had the request.
    pub asked: usize,
    /// Line at which it began to write the answer, with what it says; none when it never did.
    pub answered: Option<(usize, Acknowledged)>,
}

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// Revision of the write.
    pub revision: u64,
    /// Version of the entry.
    pub version: u64,
}

/// One direction of a connection.
#[derive(Debug, Default)]
struct Stream {
    bytes: Vec<u8>,
    /// Offset at which each call's bytes end, with the lines of the call.
    calls: Vec<(usize, usize, usize)>,
}

/// A message of one HTTP/2 stream: its bytes, the line at which the first of them was on its way, and at which the last
/// had come.
type Messages = BTreeMap<u32, Vec<(Vec<u8>, usize, usize)>>;

/// Every write of a key of the test's, in the order of the requests.
pub fn exchanges(trace: &Trace) -> Result<Vec<Exchange>> {
    let mut incoming: BTreeMap<Vec<u8>, Stream> = BTreeMap::new();
    let mut outgoing: BTreeMap<Vec<u8>, Stream> = BTreeMap::new();
    for call in &trace.calls {
        let streams = match call.name.as_str() {
            "recvfrom" | "read" | "readv" => &mut incoming,
            "sendto" | "write" | "writev" => &mut outgoing,
            "recvmsg" | "sendmsg" | "sendmmsg" | "recvmmsg" => {
                let (_, name) = call.descriptor()?;
                ensure!(!name.starts_with(b"socket:"), "{} on a socket is not understood", call.name);
                continue;
            }
            _ => continue,
        };
        if call.result().is_none_or(|bytes| bytes == 0) {
            continue;
        }
        let (_, name) = call.descriptor()?;
        if name.starts_with(b"socket:") {
            let stream = streams.entry(name).or_default();
            stream.bytes.extend(call.data()?);
            stream.calls.push((stream.bytes.len(), call.start, call.end));
        }
    }
    let mut exchanges = Vec::new();
    for (socket, stream) in &incoming {
        let Some(frames) = stream.bytes.strip_prefix(PREFACE) else { continue };
        let requests = messages(frames, PREFACE.len(), stream)?;
        let answers = match outgoing.get(socket) {
            Some(stream) => messages(&stream.bytes, 0, stream)?,
            None => Messages::new(),
        };
        for (id, request) in requests {
            exchanges.extend(exchange(&request, answers.get(&id))?);
        }
    }
    exchanges.sort_by_key(|exchange| exchange.asked);
    Ok(exchanges)
}

fn exchange(
    request: &[(Vec<u8>, usize, usize)],
    answer: Option<&Vec<(Vec<u8>, usize, usize)>>,
) -> Result<Option<Exchange>> {
    let [(bytes, _, asked)] = request else { return Ok(None) };
    // Other requests have something else in these fields, or are none of this type at all.
    let Ok(put) = PutRequest::decode(bytes.as_slice()) else { return Ok(None) };
    if !put.key.starts_with(KEYS) {
        return Ok(None);
    }
    let answered = match answer.and_then(|messages| messages.first()) {
        Some((bytes, began, _)) => {
            let answer = PutResponse::decode(bytes.as_slice()).context("an answer to Put")?;
            let entry = answer.entry.context("an answer to Put without an entry")?;
            Some((*began, Acknowledged { revision: entry.revision, version: entry.version }))
        }
        None => None,
    };
    Ok(Some(Exchange { key: put.key, value: put.value, asked: *asked, answered }))
}

/// Puts the gRPC messages of each stream together.
fn messages(frames: &[u8], skipped: usize, stream: &Stream) -> Result<Messages> {
    let lines = |offset: usize| {
        let index = stream.calls.partition_point(|(end, ..)| *end <= offset);
        stream.calls.get(index).map(|(_, start, end)| (*start, *end)).context("bytes of no call")
    };
    let mut partial: BTreeMap<u32, (Vec<u8>, usize)> = BTreeMap::new();
    let mut messages = Messages::new();
    let mut offset = 0;
    while let Some(head) = frames.get(offset..offset + 9) {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let (kind, flags) = (head[3], head[4]);
        let id = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        // What was not read or written to its end says nothing.
        let Some(payload) = frames.get(offset + 9..offset + 9 + length) else { break };
        let last = skipped + offset + 9 + length - 1;
        if kind == DATA {
            ensure!(flags & PADDED == 0, "a padded frame");
            let first = lines(skipped + offset)?.0;
            let (bytes, began) = partial.entry(id).or_insert((Vec::new(), first));
            bytes.extend_from_slice(payload);
            while let Some(message) = take(bytes)? {
                messages.entry(id).or_default().push((message, *began, lines(last)?.1));
                *began = lines(last)?.0;
            }
        }
        offset += 9 + length;
    }
    Ok(messages)
}

/// One whole message from the front of a stream's bytes.
fn take(bytes: &mut Vec<u8>) -> Result<Option<Vec<u8>>> {
    let Some(head) = bytes.get(..5) else { return Ok(None) };
    ensure!(head[0] == 0, "a compressed message");
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    let length = usize::try_from(length)?;
    if bytes.len() < 5 + length {
        return Ok(None);
    }
    let message = bytes[5..5 + length].to_vec();
    bytes.drain(..5 + length);
    Ok(Some(message))
}
