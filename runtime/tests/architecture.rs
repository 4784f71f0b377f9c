//! Who may know whom: the table of the workspace's crates, compared with what cargo and the sources say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, MetadataCommand, TargetKind};

/// Each crate of ours: which others of ours it may depend on, and what it must not name in its sources.
const CRATES: [(&str, &str, &[&str], &[&str]); 5] = [
    ("quorate-core", "core", &[], &["std::", "tokio", "quorate_", "cfg(simulation)"]),
    ("quorate-checker", "checker", &[], &["quorate_core", "quorate_sim", "quorate_traces", "quorate_runtime"]),
    (
        "quorate-traces",
        "traces",
        &["quorate-core"],
        &["quorate_sim", "quorate_runtime", "quorate_checker", "std::time", "std::net", "std::thread", "tokio"],
    ),
    (
        "quorate-sim",
        "sim",
        &["quorate-core", "quorate-traces", "quorate-checker"],
        &["quorate_runtime", "tokio", "std::net", "std::time", "SystemTime", "HashMap", "HashSet"],
    ),
    (
        "quorate-runtime",
        "runtime",
        // The library may know core and traces only; the binary composes all. The next test tells them apart.
        &["quorate-core", "quorate-traces", "quorate-sim", "quorate-checker"],
        &[],
    ),
];

/// What core may stand on: nothing that reads a clock, draws entropy or touches the system.
const CORE_LIBRARIES: [&str; 9] =
    ["bytes", "crc32c", "postcard", "prost", "rand_chacha", "rand_core", "serde", "slab", "xxhash-rust"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in a workspace").to_owned()
}

fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            let text = fs::read_to_string(&path).unwrap();
            files.push((path, text));
        }
    }
    files.sort();
    files
}

/// The code of a file, without comments and without its tests at the end.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().expect("there is always a first part");
    text.lines().map(|line| line.split("//").next().expect("a first part").to_owned() + "\n").collect()
}

#[test]
fn each_crate_depends_only_on_what_the_table_allows() {
    let metadata = MetadataCommand::new().no_deps().manifest_path(root().join("Cargo.toml")).exec().unwrap();
    let ours: BTreeSet<&str> = CRATES.iter().map(|(name, ..)| *name).collect();
    let found: BTreeSet<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    assert_eq!(found, ours, "the workspace has exactly these crates");
    for package in &metadata.packages {
        let (_, _, allowed, _) = CRATES.iter().find(|(name, ..)| *name == package.name.as_str()).unwrap();
        let normal = package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal);
        for dependency in normal.clone().filter(|dependency| ours.contains(dependency.name.as_str())) {
            assert!(allowed.contains(&dependency.name.as_str()), "{} knows {}", package.name, dependency.name);
        }
        if package.name.as_str() == "quorate-core" {
            for dependency in normal {
                assert!(CORE_LIBRARIES.contains(&dependency.name.as_str()), "core stands on {}", dependency.name);
            }
        }
    }
}

#[test]
fn there_is_one_binary() {
    let metadata = MetadataCommand::new().no_deps().manifest_path(root().join("Cargo.toml")).exec().unwrap();
    let targets = metadata.packages.iter().flat_map(|package| &package.targets);
    let binaries: Vec<_> =
        targets.filter(|target| target.kind.contains(&TargetKind::Bin)).map(|target| target.name.as_str()).collect();
    assert_eq!(binaries, ["quorate"]);
}

#[test]
fn no_crate_names_what_it_must_not_know() {
    let mut wrong = Vec::new();
    for (name, folder, _, forbidden) in CRATES {
        for (file, text) in sources(&root().join(folder).join("src")) {
            let code = code(&text);
            for word in forbidden.iter().filter(|word| code.contains(**word)) {
                wrong.push(format!("{name}: {} names {word}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_the_front_door_of_runtime_knows_simulator_and_checker() {
    let source = root().join("runtime/src");
    let mut knowing = BTreeMap::new();
    for (file, text) in sources(&source) {
        let relative = file.strip_prefix(&source).unwrap().to_owned();
        let is_front_door = relative == Path::new("main.rs") || relative.starts_with("cli");
        let knows = ["quorate_sim", "quorate_checker"].iter().any(|word| code(&text).contains(word));
        *knowing.entry((is_front_door, knows)).or_insert(0) += 1;
        assert!(is_front_door || !knows, "{} knows the simulator or the checker", relative.display());
    }
    assert!(knowing.contains_key(&(true, true)), "the front door composes them");
}

#[test]
fn core_is_free_of_std_and_nobody_is_unsafe() {
    let core = fs::read_to_string(root().join("core/src/lib.rs")).unwrap();
    assert!(core.lines().any(|line| line == "#![no_std]"));
    let workspace = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(workspace.contains("unsafe_code = \"forbid\""));
    for (name, folder, ..) in CRATES {
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[lints]\nworkspace = true"), "{name} keeps the workspace's lints");
    }
}

#[test]
fn threads_of_the_simulator_stay_outside_a_run() {
    for (file, text) in sources(&root().join("sim/src")) {
        let is_sweep = file.file_name().is_some_and(|name| name == "hunt.rs");
        assert!(is_sweep || !code(&text).contains("std::thread"), "{} uses threads", file.display());
    }
}
