//! Files that are written as a whole or not at all.

use std::io::{BufWriter, Write};
use std::path::Path;

use crate::context::Context;
use crate::exit::Failure;

/// Writes a file of the user, or leaves what was there.
pub fn write_whole<T>(
    written: &Path,
    context: &Context,
    write: impl FnOnce(&mut dyn Write) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let dir = written.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (dir, path) = (&context.path(dir), &context.path(written));
    let fresh = tempfile::Builder::new()
        .prefix(".quipu-unfinished-")
        .tempfile_in(dir)
        .map_err(Failure::file(dir))?;
    let mut writer = BufWriter::with_capacity(1 << 20, fresh);
    let done = write(&mut writer)?;
    let fresh = writer.into_inner().map_err(|error| Failure::file(path)(error.into_error()))?;
    fresh.as_file().sync_all().map_err(Failure::file(path))?;
    fresh.persist(path).map_err(|error| Failure::file(path)(error.error))?;
    Ok(done)
}
