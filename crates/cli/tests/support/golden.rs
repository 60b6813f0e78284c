//! Text held against a file: `MAINSTAY_UPDATE_GOLDEN=1 cargo test` writes the file anew.

use std::fs;
use std::path::Path;

/// Panics where `actual` is not what the golden file holds.
pub(crate) fn golden(name: &str, actual: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("MAINSTAY_UPDATE_GOLDEN").is_some() {
        fs::write(&file, actual).expect("the golden file can be written");
        return;
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        expected == actual,
        "{name} differs; MAINSTAY_UPDATE_GOLDEN=1 accepts it\n--- expected\n{expected}\n--- actual\n{actual}"
    );
}
