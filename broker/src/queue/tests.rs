use mesh_core::command::{Command, Labels, Precondition, Put};
use mesh_core::id::EntryKey;
use uuid::Uuid;

use super::*;

fn lane(number: u128) -> Lane {
    Lane::Session(SessionId(Uuid::from_u128(number)))
}

/// Something that can be told again when it is taken.
fn put(number: usize, bytes: usize) -> Request {
    let put = Put {
        scope: None,
        key: EntryKey::parse(&number.to_string()).unwrap(),
        value: "x".repeat(bytes).into(),
        precondition: Precondition::Any,
        ttl: None,
        paths: Vec::new(),
        tags: Vec::new(),
        labels: Labels::Replace,
        fence: None,
    };
    Request::internal(Command::Put(put))
}

/// Queues a request, whose caller is gone at once.
fn push(handle: &Handle, lane: Lane, number: usize, bytes: usize) -> Result<(), CallError> {
    let request = put(number, bytes);
    let weight = weight::of(&request);
    handle.shared().push(lane, Input::Submit(Box::new(request), oneshot::channel().0), weight)
}

fn number(input: Input) -> usize {
    let Input::Submit(request, _) = input else { panic!("{input:?}") };
    let Command::Put(put) = request.command else { panic!("a put") };
    put.key.as_str().parse().unwrap()
}

fn taken(inputs: &Inputs, count: usize) -> Vec<usize> {
    inputs.waiting().take(count).map(number).collect()
}

#[test]
fn one_lane_is_a_line() {
    let (handle, inputs) = queue();
    (0..100).for_each(|n| push(&handle, lane(1), n, n).unwrap());
    assert_eq!(handle.depth(), 100);
    assert_eq!(taken(&inputs, 200), (0..100).collect::<Vec<_>>());
    assert_eq!(handle.depth(), 0);
}

#[test]
fn who_comes_into_a_flood_is_next_but_for_one_request_of_each_noisy_lane() {
    let (handle, inputs) = queue();
    for n in 0..1_000 {
        (1..=5).for_each(|noisy| push(&handle, lane(noisy), n, 0).unwrap());
    }
    taken(&inputs, 1_234);
    push(&handle, lane(8), 7_777, 60_000).unwrap();
    let place = inputs.waiting().map(number).position(|n| n == 7_777).unwrap();
    assert!(place <= 5, "{place}");
    for n in 0..50 {
        push(&handle, lane(9), 8_000 + n, 0).unwrap();
    }
    let order = taken(&inputs, 400);
    let last = order.iter().position(|n| *n == 8_049).unwrap();
    assert!(last <= 50 * 6, "{last}: five noisy lanes and this one take turns");
    let own: Vec<_> = order.into_iter().filter(|n| *n >= 8_000).collect();
    assert!(own.is_sorted(), "{own:?}");
}

#[test]
fn large_requests_have_their_turn_less_often() {
    let (handle, inputs) = queue();
    (0..50).for_each(|n| push(&handle, lane(1), n, 63 * 1_024).unwrap());
    (0..900).for_each(|n| push(&handle, lane(2), 1_000 + n, 0).unwrap());
    let large = taken(&inputs, 650).into_iter().filter(|n| *n < 1_000).count();
    assert!((10..=11).contains(&large), "{large}: one for 64 small ones");
}

#[test]
fn a_lane_is_full_before_the_queue_is() {
    let (handle, inputs) = queue();
    let fill = |of: u128| (0..10_000).take_while(|n| push(&handle, lane(of), *n, 0).is_ok()).count();
    assert_eq!(fill(1), limits::QUEUE_PER_CALLER);
    assert_eq!(push(&handle, lane(1), 0, 0), Err(CallError::Overloaded));
    push(&handle, lane(2), 0, 0).unwrap();
    // However many fill theirs, the next one finds room.
    let rows: Vec<_> = (10..200).map(fill).collect();
    assert!(rows.iter().all(|row| *row > 0), "{rows:?}");
    assert!(handle.depth() <= limits::QUEUE + rows.len());
    assert_eq!(inputs.waiting().count(), limits::QUEUE_PER_CALLER + 1 + rows.iter().sum::<usize>());
    assert_eq!(fill(1), limits::QUEUE_PER_CALLER, "there is room again");
}

#[test]
fn what_waits_is_bounded_in_bytes() {
    let (handle, inputs) = queue();
    let mut count = 0;
    for of in 1..=100 {
        count += (0..50).take_while(|_| push(&handle, lane(of), 0, 2 * 1024 * 1024).is_ok()).count();
    }
    let lanes = handle.shared().lanes();
    assert!(lanes.bytes <= 2 * limits::QUEUE_BYTES, "{}", lanes.bytes);
    assert!(lanes.bytes > limits::QUEUE_BYTES, "{}", lanes.bytes);
    drop(lanes);
    push(&handle, lane(1_000), 0, 0).unwrap();
    assert_eq!(inputs.waiting().count(), count + 1);
    let lanes = handle.shared().lanes();
    assert_eq!((lanes.bytes, lanes.count, lanes.lanes.len(), lanes.turns.len()), (0, 0, 0, 0));
}

#[test]
fn an_end_takes_what_waits_and_nothing_more() {
    let (handle, inputs) = queue();
    push(&handle, lane(1), 1, 0).unwrap();
    handle.stop();
    assert_eq!(push(&handle, lane(1), 2, 0), Err(CallError::Draining));
    assert_eq!(number(inputs.wait(None).unwrap()), 1);
    assert!(matches!(inputs.wait(None), Ok(Input::Stop)));

    let (handle, inputs) = queue();
    push(&handle, lane(1), 1, 0).unwrap();
    drop(handle);
    assert_eq!(number(inputs.wait(None).unwrap()), 1);
    assert!(matches!(inputs.wait(None), Err(RecvTimeoutError::Disconnected)));

    let (handle, inputs) = queue();
    drop(inputs);
    assert_eq!(push(&handle, lane(1), 1, 0), Err(CallError::Draining));
}

#[test]
fn a_sleeping_writer_is_woken() {
    let (handle, inputs) = queue();
    assert!(matches!(inputs.wait(Some(Duration::ZERO)), Err(RecvTimeoutError::Timeout)));
    let writer = std::thread::spawn(move || number(inputs.wait(None).unwrap()));
    push(&handle, lane(1), 5, 0).unwrap();
    assert_eq!(writer.join().unwrap(), 5);
}
