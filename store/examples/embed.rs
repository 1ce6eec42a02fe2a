//! Embedding the store: two replicas of one ledger, apart and together again.
//!
//! `cargo run --release -p quipu-store --example embed`

use quipu_merge::{Cut, Role};
use quipu_store::{Expected, Ledger, NewLedger, Options, Value, WriteError};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::temp_dir().join(format!("quipu-embed-{}", std::process::id()));
    let depot = Ledger::create(
        dir.join("depot"),
        &NewLedger { name: "custody".into(), ..NewLedger::default() },
    )?;

    // A replica on another device has a key of its own, and a role from the first.
    let (truck, _) =
        Options::new().clone_granted(dir.join("truck"), &depot, Role::Writer, &mut |_, _| {})?;

    // Operations of one transaction are one signed event, durable when `commit` returns.
    let mut transaction = depot.transaction();
    transaction.put("parcel/7/holder", b"depot")?.inc("parcels", 1)?;
    let packed = transaction.commit()?;

    // Apart from each other, both change the same register.
    truck.merge(&depot, &mut |_, _| {})?;
    let mut transaction = truck.transaction();
    transaction.put("parcel/7/holder", b"truck")?.append("parcel/7/log", b"picked up")?;
    transaction.commit()?;
    let mut transaction = depot.transaction();
    transaction.put("parcel/7/holder", b"depot, shelf 3")?;
    transaction.commit()?;

    // Together again, the disagreement is visible until somebody settles it.
    let report = depot.merge(&truck, &mut |_, _| {})?;
    println!("{} new events, conflicts in {:?}", report.new_events, report.new_conflicts);
    let writes = depot.snapshot()?.register("parcel/7/holder")?;
    for write in &writes {
        println!("  {} says {:?}", &write.author.to_string()[..8], write.value);
    }

    // Settle exactly what was seen; a value that has come meanwhile would make this fail.
    let mut transaction = depot.transaction();
    transaction.require(
        "parcel/7/holder",
        Expected::Writes(writes.iter().map(|write| write.event).collect()),
    )?;
    transaction.put("parcel/7/holder", b"truck")?;
    match transaction.commit() {
        Ok(committed) => println!("settled by {}", committed.event),
        Err(WriteError::Condition { found, .. }) => println!("somebody was faster: {found}"),
        Err(other) => return Err(other.into()),
    }

    // Any past state stays readable.
    let then = depot.at(&Cut::Heads(vec![packed.event]))?;
    assert_eq!(then.get("parcel/7/holder")?, Some(Value::Bytes(b"depot".to_vec())));
    assert_eq!(depot.get("parcel/7/holder")?, Some(Value::Bytes(b"truck".to_vec())));

    drop(then);
    drop((depot, truck));
    std::fs::remove_dir_all(dir)?;
    Ok(())
}
