//! Where a page goes.

use std::path::Path;

use crate::exit::Failure;
use crate::look::say;

/// Writes it, and says so.
pub(super) fn write(file: &Path, page: &str) -> Result<(), Failure> {
    if file == Path::new("-") {
        return say(page);
    }
    let name = file.display().to_string();
    std::fs::write(file, page).map_err(|error| Failure::unreachable(format!("can't write `{name}`: {error}")))?;
    say(&format!("written to {name}\n"))
}
