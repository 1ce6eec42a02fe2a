//! Power loss: an ext4 file system that is shut down while somebody writes to it. What was synced
//! stays, and everything else vanishes.
//!
//! `QUIPU_POWER_LOSSES` says how often. It needs root, loop devices, `mkfs.ext4` and perl.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::child::{self, Mount, run};
use crate::files::{self, Random};
use crate::promised::Promised;

const POWER_LOSSES: u64 = 100;
/// A new file system after so many, so that stores stay small, and are also made.
const ON_ONE: u64 = 10;
/// `EXT4_IOC_SHUTDOWN` without flushing the journal.
const SHUTDOWN: &str = r#"
open(my $dir, "<", $ARGV[0]) or die $!;
my $how = pack("L", 2);
ioctl($dir, 0x8004587D, $how) or die $!;
"#;

/// A file system in a file.
struct Disk {
    image: PathBuf,
    place: PathBuf,
}

impl Disk {
    fn new(dir: &Path) -> Self {
        let disk = Self { image: dir.join("image"), place: dir.join("disk") };
        fs::create_dir_all(&disk.place).unwrap();
        disk
    }

    fn format(&self) -> Result<(), &'static str> {
        let file = fs::File::create(&self.image).unwrap();
        file.set_len(96 << 20).unwrap();
        let formatted = run("mkfs.ext4", &["-q", "-F", self.image.to_str().unwrap()]);
        formatted.then_some(()).ok_or("mkfs.ext4 does not run")
    }

    fn mount(&self) -> Result<Mount, &'static str> {
        let [image, place] = [&self.image, &self.place].map(|path| path.to_str().unwrap());
        let mounted = run("mount", &["-o", "loop", image, place]);
        mounted.then(|| Mount(self.place.clone())).ok_or("a loop device cannot be mounted")
    }

    fn shut_down(&self) -> Result<(), &'static str> {
        let done = run("perl", &["-e", SHUTDOWN, self.place.to_str().unwrap()]);
        done.then_some(()).ok_or("ext4 cannot be shut down by its ioctl")
    }

    /// Why this machine cannot lose power on purpose, if it cannot.
    fn try_out(&self) -> Result<(), &'static str> {
        self.format()?;
        let _mount = self.mount()?;
        self.shut_down()
    }
}

#[test]
fn power_loss_takes_nothing_that_was_acknowledged() {
    let dir = files::scratch();
    let disk = Disk::new(dir.path());
    if let Err(why) = disk.try_out() {
        files::skipped("power loss", why);
        return;
    }
    let mut random = Random::new();
    let count = files::number("QUIPU_POWER_LOSSES").unwrap_or(POWER_LOSSES);
    let (acks, store) = (dir.path().join("acks"), disk.place.join("store"));
    let (mut promised, mut total) = (Promised::default(), 0);
    for round in 0..count {
        if round % ON_ONE == 0 {
            total += promised.len();
            promised = Promised::default();
            disk.format().unwrap();
        }
        let _ = fs::remove_file(&acks);
        let mount = disk.mount().unwrap();
        let mut child = child::command(None, &store, &acks)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_micros(10_000 + random.below(120_000)));
        // What is acknowledged while the file system goes down is not acknowledged by a machine
        // without power, and ext4 may answer a sync that is under way as if it had been done.
        let _ = child::read(&acks, &mut promised);
        disk.shut_down().unwrap();
        let _ = child.kill();
        child.wait().unwrap();
        drop(mount);
        let _mount = disk.mount().unwrap();
        if promised.len() > 0 {
            promised.check(&store);
        } else if store.exists() {
            // It was being made.
            let _ = fs::remove_dir_all(&store);
        }
    }
    total += promised.len();
    println!("{count} times without power, {total} events acknowledged before");
    assert!(total > 0 || count < 20);
}
