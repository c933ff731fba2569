//! Inputs of the fuzzer that are kept: those that once were findings, and some that between them reach most lines.

use std::path::Path;

use signoise_core::Interrupt;

use crate::archive::{archive_names, archive_read};

#[path = "../../../fuzz/entries.rs"]
#[allow(clippy::expect_used, dead_code, unreachable_pub, reason = "it is the library of another crate")]
mod entries;

#[test]
#[allow(clippy::unwrap_used)]
fn kept_inputs_do_no_harm() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/cases");
    for (name, entry) in entries::ENTRIES {
        let path = cases.join(format!("{name}.zip"));
        let interrupt = Interrupt::new();
        let names: Vec<String> =
            archive_names(&path, &interrupt).unwrap().into_iter().map(|member| member.name).collect();
        assert!(!names.is_empty());
        for content in archive_read(&path, &names, 1 << 20, &interrupt).unwrap() {
            entry(&content);
        }
    }
}
