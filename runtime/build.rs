//! Tells the binary where it came from: `QUORATE_COMMIT`, and `QUORATE_CORE`, a fingerprint of the sources that decide
//! what a simulated run does. Digests of recorded runs are compared only where that fingerprint is equal.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let here = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let root = here.parent().expect("the package lies in a workspace");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=QUORATE_COMMIT={}", commit(root).unwrap_or_else(|| "unknown".to_string()));
    println!("cargo::rustc-env=QUORATE_CORE={}", core_fingerprint(root));
}

/// The commit that is checked out; nothing where there is no checkout or no git.
fn commit(root: &Path) -> Option<String> {
    let head = git(root, &["rev-parse", "HEAD"])?;
    // A new commit moves the branch; a checkout rewrites HEAD.
    let branch = git(root, &["symbolic-ref", "-q", "HEAD"]);
    for watched in ["HEAD", "packed-refs"].into_iter().map(String::from).chain(branch) {
        if let Some(path) = git(root, &["rev-parse", "--git-path", watched.as_str()])
            && root.join(&path).exists()
        {
            println!("cargo::rerun-if-changed={}", root.join(path).display());
        }
    }
    Some(head)
}

fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(root).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_string();
    (output.status.success() && !text.is_empty()).then_some(text)
}

/// FNV-1a over paths and contents of core/src and sim/src, in order of path. It guards against accidents, not forgers.
fn core_fingerprint(root: &Path) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for folder in ["core/src", "sim/src"] {
        println!("cargo::rerun-if-changed={}", root.join(folder).display());
        let mut files = Vec::new();
        collect(&root.join(folder), &mut files);
        files.sort();
        for file in files {
            let name = file.strip_prefix(root).expect("found below the root").to_string_lossy().replace('\\', "/");
            let content = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            let length = (content.len() as u64).to_le_bytes();
            for byte in name.bytes().chain([0]).chain(length).chain(content) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
    }
    format!("{hash:016x}")
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    // Outside the workspace the sources are not there; the fingerprint then fits no other.
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let entry = entry.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}
