//! The committed traces: small runs that once failed, or must go on failing, and the page that lists them.
//!
//! A corpus is a folder of `NAME.trace.jsonl`. It stays small on purpose: a trace that is not small was not shrunk, and
//! nobody reads it. The page is made from the traces, so it cannot say anything else than they do.

use crate::{PlanTrace, TraceError, VerdictWord};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// The most bytes of one committed trace.
pub const TRACE_BYTES_MAX: u64 = 64 << 10;
/// The most bytes of all committed traces together.
pub const CORPUS_BYTES_MAX: u64 = 1 << 20;
/// How the names of plan traces end.
const SUFFIX: &str = ".trace.jsonl";

/// One trace of the corpus.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Where it lies.
    pub file: PathBuf,
    /// How long the file is.
    pub bytes: u64,
    /// What it says.
    pub trace: PlanTrace,
}

/// Reads every plan trace of a folder, in order of their names; other files are passed over.
///
/// # Errors
/// The first trace, or the folder, that cannot be read.
pub fn load_all(folder: &Path) -> Result<Vec<Committed>, TraceError> {
    let named = |source| TraceError::File { file: folder.to_path_buf(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(named)? {
        let file = entry.map_err(named)?.path();
        if file.to_str().is_some_and(|name| name.ends_with(SUFFIX)) {
            files.push(file);
        }
    }
    files.sort();
    let committed = |file: PathBuf| {
        let trace = PlanTrace::load(&file)?;
        let bytes = match std::fs::metadata(&file) {
            Ok(metadata) => metadata.len(),
            Err(source) => return Err(TraceError::File { file, source }),
        };
        Ok(Committed { file, bytes, trace })
    };
    files.into_iter().map(committed).collect()
}

/// The page that lists a corpus, as Markdown.
#[must_use]
pub fn index(traces: &[Committed]) -> String {
    let mut page = String::from(
        "# Traces that replay for ever\n\n\
         Each file is a run of a whole cluster that once failed, or that must go on failing: read it with\n\
         `quorate trace show FILE`, run it with `quorate replay FILE`, run all with `quorate trace check-all`.\n\
         This page is made from them: `QUORATE_WRITE_INDEX=1 cargo test -p quorate-sim --test corpus` writes it anew.\n",
    );
    for Committed { trace, .. } in traces {
        let PlanTrace { name, plan, expect, origin, .. } = trace;
        let _ = write!(page, "\n## {name}\n\n{}\n\n", origin.story);
        let expected = match (expect.verdict, &expect.property) {
            (VerdictWord::Ok, _) => "everything holds".to_string(),
            (VerdictWord::Violation, Some(property)) => format!("`{property}` is broken"),
            (VerdictWord::Violation, None) => "a property is broken".to_string(),
            (VerdictWord::Unknown, _) => "a budget ends".to_string(),
        };
        let (nodes, ops, faults) = (plan.shape.cluster.nodes, plan.ops.len(), plan.faults.len());
        let _ = write!(page, "Expected: {expected}. {nodes} nodes, {ops} operations, {faults} faults");
        if let Some(violated) = &origin.violated {
            let _ = write!(page, ". When it was found: `{violated}` was broken");
        }
        page.push_str(".\n");
    }
    page
}
