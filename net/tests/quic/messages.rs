//! Messages arrive as they were sent.

use quipu_net::{Channel, ConnectionError, Receiver, SendError, Sender};

use crate::nodes::{connected, limits, node, until, within};

/// Different for each channel and place in the order; some are empty, some are long.
fn message(channel: Channel, n: usize) -> Vec<u8> {
    let len = [0, 1, 5, 1000, 60_000][n % 5];
    let mut message = vec![n as u8; len];
    message.extend_from_slice(format!("{channel:?} {n}").as_bytes());
    message
}

const COUNT: usize = 200;

/// Sends on every channel, from as many tasks.
async fn send(sender: Sender) {
    let sending = Channel::ALL.map(|channel| {
        let sender = sender.clone();
        tokio::spawn(async move {
            for n in 0..COUNT {
                sender.send(channel, message(channel, n)).await.unwrap();
            }
        })
    });
    for task in sending {
        task.await.unwrap();
    }
}

async fn receive(receiver: &mut Receiver) {
    let mut counts = [0; 4];
    for _ in 0..4 * COUNT {
        let (channel, received) = receiver.next().await.unwrap();
        let count = &mut counts[channel as usize];
        assert_eq!(received, message(channel, *count), "{channel:?} {count}");
        *count += 1;
    }
    assert_eq!(counts, [COUNT; 4]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_channel_keeps_its_order_in_both_directions() {
    let (a, b) = (node(1), node(2));
    let (at_a, at_b) = connected(&a, &b).await;
    assert_eq!((at_a.peer(), at_b.peer()), (b.key(), a.key()));
    assert_eq!(at_a.remote_address(), b.local_addr());
    assert_eq!(at_b.remote_address(), a.local_addr());
    let ((to_b, mut from_b), (to_a, mut from_a)) = (at_a.split(), at_b.split());
    within(async {
        tokio::join!(send(to_b.clone()), send(to_a), receive(&mut from_a), receive(&mut from_b))
    })
    .await;
    let traffic = to_b.traffic();
    let sent = (0..COUNT).map(|n| message(Channel::Sync, n).len() as u64).sum::<u64>() * 4;
    assert!(traffic.sent > sent && traffic.received > sent, "{traffic:?} for {sent}");
    assert!(!to_b.rtt().is_zero());
}

#[tokio::test]
async fn giving_up_loses_nothing() {
    let (a, b) = (node(1), node(2));
    let (at_a, mut at_b) = connected(&a, &b).await;
    let sending = send(at_a.sender().clone());
    let receiving = async {
        let mut counts = [0; 4];
        while counts.iter().sum::<usize>() < 4 * COUNT {
            // Each call is polled once and dropped if it has nothing.
            let next = tokio::select! {
                biased;
                next = at_b.receiver().next() => Some(next),
                () = std::future::ready(()) => None,
            };
            match next {
                Some(next) => {
                    let (channel, received) = next.unwrap();
                    let count = &mut counts[channel as usize];
                    assert_eq!(received, message(channel, *count));
                    *count += 1;
                }
                None => tokio::task::yield_now().await,
            }
        }
    };
    within(async { tokio::join!(sending, receiving) }).await;
}

#[tokio::test]
async fn bulk_does_not_delay_control() {
    const BLOCKS: usize = 64;
    let (a, b) = (node(1), node(2));
    let (at_a, mut at_b) = connected(&a, &b).await;
    let bulk = at_a.sender().clone();
    let sending = tokio::spawn(async move {
        for _ in 0..BLOCKS {
            bulk.send(Channel::Blocks, vec![7; limits().frames.blocks as usize]).await.unwrap();
        }
    });
    // Nobody reads: the channel is full.
    let window = u64::from(limits().stream_window);
    until(|| at_b.traffic().received >= window).await;
    let filled = at_b.traffic().received;
    for n in 0..10 {
        within(at_a.sender().send(Channel::Control, vec![n])).await.unwrap();
    }
    until(|| at_b.traffic().received > filled).await;
    let (mut controls, mut blocks) = (0, 0);
    while blocks < BLOCKS {
        match within(at_b.receiver().next()).await.unwrap() {
            (Channel::Control, message) => {
                assert_eq!(message, [controls]);
                controls += 1;
                assert!(blocks <= usize::from(controls) + 1, "{blocks} before {controls}");
            }
            _ => blocks += 1,
        }
    }
    assert_eq!(controls, 10);
    sending.await.unwrap();
}

#[tokio::test]
async fn whoever_does_not_read_stops_the_sender() {
    let (a, b) = (node(1), node(2));
    let (at_a, mut at_b) = connected(&a, &b).await;
    let long = vec![7; limits().frames.sync as usize];
    // One is being written and does not fit in the window, one waits.
    within(at_a.sender().send(Channel::Sync, long.clone())).await.unwrap();
    within(at_a.sender().send(Channel::Sync, long.clone())).await.unwrap();
    let window = u64::from(limits().stream_window);
    until(|| at_b.traffic().received >= window).await;
    let mut third = std::pin::pin!(at_a.sender().send(Channel::Sync, long.clone()));
    tokio::select! {
        biased;
        _ = &mut third => panic!("there was room"),
        // Another channel has some.
        sent = at_a.sender().send(Channel::Blocks, long.clone()) => sent.unwrap(),
    }
    let reading = async {
        for _ in 0..4 {
            assert_eq!(at_b.receiver().next().await.unwrap().1, long);
        }
    };
    let (sent, ()) = within(async { tokio::join!(third, reading) }).await;
    sent.unwrap();
}

#[tokio::test]
async fn a_message_that_is_too_long_is_not_sent() {
    let (a, b) = (node(1), node(2));
    let (at_a, mut at_b) = connected(&a, &b).await;
    for channel in Channel::ALL {
        let limit = limits().frames.of(channel);
        let len = limit as usize + 1;
        let error = at_a.sender().send(channel, vec![1; len]).await;
        assert_eq!(error, Err(SendError::TooLong { channel, len, limit }));
        at_a.sender().send(channel, vec![1; limit as usize]).await.unwrap();
        let (on, longest) = within(at_b.receiver().next()).await.unwrap();
        assert_eq!((on, longest.len()), (channel, limit as usize));
    }
}

#[tokio::test]
async fn what_came_before_the_end_is_read() {
    let (a, b) = (node(1), node(2));
    let (at_a, mut at_b) = connected(&a, &b).await;
    at_a.sender().send(Channel::Control, &b"first"[..]).await.unwrap();
    at_a.sender().send(Channel::Control, &b"last"[..]).await.unwrap();
    assert_eq!(within(at_b.receiver().next()).await.unwrap().1, b"first");
    // What is less urgent comes later: once it is there, so is the second message.
    let before = at_b.traffic().received;
    at_a.sender().send(Channel::Blocks, vec![0; 100_000]).await.unwrap();
    until(|| at_b.traffic().received > before + 100_000).await;
    drop(at_a);
    within(at_b.closed()).await;
    let mut messages = Vec::new();
    let end = loop {
        match within(at_b.receiver().next()).await {
            Ok((_, message)) => messages.push(message),
            Err(end) => break end,
        }
    };
    assert!(matches!(end, ConnectionError::Closed { .. }), "{end}");
    assert!(messages.contains(&b"last".to_vec()));
    assert_eq!(at_b.receiver().next().await, Err(end));
}
