//! What certifying costs with many validators.

use super::scenario::quick;
use super::world::World;

/// `cargo test --release -p quipu-proto --test certify hundred -- --nocapture` shows it.
#[test]
fn a_hundred_validators_certify() {
    let mut world = World::new(1, 100, 0, quick());
    world.run_until(1_000_000);
    let (messages, bytes, before) = (world.messages, world.bytes, world.certified.len());
    for at in 0..5 {
        world.write(at);
        world.run_until(world.now + 3_000_000);
    }
    assert_eq!(world.wrong, None);
    let made = world.certified.len() - before;
    assert!(made >= 5, "{made}");
    let made = made as u64;
    println!(
        "100 validators: {} messages and {} bytes for each of {made} checkpoints",
        (world.messages - messages) / made,
        (world.bytes - bytes) / made,
    );
}
