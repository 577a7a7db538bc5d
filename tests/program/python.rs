//! What tests want of the machine's Python.

use std::process::Command;

/// Whether a package of Python's is lacking, which skips the test and is told.
pub fn lacks(package: &str, version: &str) -> bool {
    let import = Command::new("python3")
        .args(["-c", &format!("import {package}")])
        .output();
    let lacks = !import.is_ok_and(|output| output.status.success());
    if lacks {
        eprintln!("skipped: python3 has no {package}; pip install {package}=={version}");
    }
    lacks
}
