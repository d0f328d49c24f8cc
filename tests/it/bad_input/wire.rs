//! Bytes that are no message of the contract.

use bytes::{Buf, BufMut};
use mesh_client::proto::ListPeersRequest;
use mesh_tests::{Mesh, SCOPE, put};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

/// Sends and receives bytes as they are.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining()).to_vec()))
    }
}

async fn call(
    channel: &Channel,
    method: &'static str,
    token: &str,
    bytes: Vec<u8>,
) -> Result<Vec<u8>, Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let mut request = Request::new(bytes);
    request.metadata_mut().insert(mesh_proto::SESSION_METADATA, token.parse().unwrap());
    let path = format!("/mesh.v1.{method}").parse().unwrap();
    client.unary(request, path, Raw).await.map(tonic::Response::into_inner)
}

/// A field of a message that holds bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).unwrap();
    [&[number << 3 | 2, length], bytes].concat()
}

const METHODS: [&str; 18] = [
    "PeerService/Join",
    "PeerService/UpdatePeer",
    "PeerService/Leave",
    "PeerService/ListPeers",
    "MessageService/Send",
    "MessageService/AcknowledgeMessages",
    "MessageService/ReportWake",
    "StateService/Put",
    "StateService/Get",
    "StateService/ListEntries",
    "StateService/Delete",
    "LockService/AcquireLocks",
    "LockService/RenewLocks",
    "LockService/ReleaseLocks",
    "LockService/ListLocks",
    "EventService/ListEvents",
    "EventService/Watch",
    "MessageService/ListMessages",
];

#[tokio::test]
async fn bytes_that_are_no_message_are_refused_and_do_no_harm() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let fox = mesh.join_unattended("fox").await;
    let token = fox.token();
    let socket = format!("unix://{}", mesh.home().socket_path().display());
    let channel = Endpoint::from_shared(socket).unwrap().connect().await.unwrap();
    for method in METHODS {
        // Groups that never end, a length beyond the end, a number that is too long.
        for garbage in [vec![0x0b, 0x0b], vec![0x0a, 0xff, 0xff, 0x7f], vec![0xff; 11]] {
            let status = call(&channel, method, token.expose(), garbage.clone()).await.unwrap_err();
            refused_as_malformed(method, &garbage, &status);
        }
    }
    let not_text = b"src/\xff\xfe";
    let mut put_bytes = field(2, b"k");
    put_bytes.extend(field(3, not_text));
    let table = [
        ("PeerService/Join", [field(1, SCOPE.as_bytes()), field(2, not_text)].concat()),
        ("MessageService/Send", [field(1, b"owl"), field(3, not_text)].concat()),
        ("StateService/Put", put_bytes),
        ("StateService/Get", field(2, not_text)),
        ("LockService/AcquireLocks", field(1, not_text)),
        ("LockService/ListLocks", field(2, not_text)),
        ("EventService/ListEvents", field(1, not_text)),
    ];
    for (method, bytes) in table {
        let status = call(&channel, method, token.expose(), bytes.clone()).await.unwrap_err();
        refused_as_malformed(method, &bytes, &status);
        assert!(status.message().contains("UTF-8"), "{method}: {}", status.message());
    }
    let huge = call(&channel, "StateService/Put", token.expose(), vec![0; 5 << 20]).await.unwrap_err();
    assert!(!huge.message().is_empty() && huge.code() != Code::Unknown, "{huge:?}");
    let unknown = call(&channel, "PeerService/Nothing", token.expose(), vec![]).await.unwrap_err();
    assert_eq!(unknown.code(), Code::Unimplemented);
    let written = fox.put(put("k", "v")).await.unwrap();
    assert_eq!(written.entry.unwrap().revision, 2, "nothing has changed meanwhile");
    assert_eq!(fox.list_peers(ListPeersRequest::default()).await.unwrap().peers.len(), 1);
}

/// Whoever gets this has a bug in its stubs: the transport says so, since there is no field to name.
fn refused_as_malformed(method: &str, bytes: &[u8], status: &Status) {
    assert!(
        matches!(status.code(), Code::Internal | Code::InvalidArgument),
        "{method} {bytes:?}: {status:?}"
    );
    assert!(!status.message().is_empty(), "{method} {bytes:?}");
}
