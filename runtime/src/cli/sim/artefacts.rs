//! The files that a sweep leaves for machines: `report.json` for `sim merge`, `junit.xml`, and Markdown for GitHub.

use std::io::Write;
use std::path::Path;

use clap::ValueEnum;
use quorate_sim::tally::Tally;

use crate::cli::exit::{Exit, Failure, OrExit};

/// The name of the report that can be merged.
pub(super) const REPORT: &str = "report.json";

/// A form of report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// report.json, which `quorate sim merge` adds up
    Json,
    /// junit.xml: one case for each property
    Junit,
    /// summary.md, appended to $GITHUB_STEP_SUMMARY, and an annotation for each kind of failure
    Github,
}

/// All forms.
pub(super) const ALL: [Form; 3] = [Form::Json, Form::Junit, Form::Github];

/// Whether this is a job of GitHub Actions.
pub(super) fn is_github() -> bool {
    std::env::var("GITHUB_ACTIONS").is_ok_and(|set| set == "true")
}

/// Writes the reports of these forms into a folder.
pub(super) fn write_reports(tally: &Tally, folder: &Path, forms: &[Form]) -> Result<(), Failure> {
    if forms.is_empty() {
        return Ok(());
    }
    std::fs::create_dir_all(folder).or_exit(Exit::Io)?;
    let write = |name: &str, text: String| {
        let file = folder.join(name);
        let named = |error: std::io::Error| anyhow::anyhow!("{}: {error}", file.display());
        std::fs::write(&file, text).map_err(named).or_exit(Exit::Io)
    };
    for form in forms {
        match form {
            Form::Json => write(REPORT, tally.write())?,
            Form::Junit => write("junit.xml", tally.junit())?,
            Form::Github => {
                write("summary.md", tally.markdown())?;
                if let Some(summary) = std::env::var_os("GITHUB_STEP_SUMMARY") {
                    let mut file =
                        std::fs::OpenOptions::new().create(true).append(true).open(summary).or_exit(Exit::Io)?;
                    file.write_all(tally.markdown().as_bytes()).or_exit(Exit::Io)?;
                }
            }
        }
    }
    Ok(())
}

/// One annotation, as a workflow command: `::error file=…,title=…::…`.
pub(super) fn annotation(file: Option<&str>, title: &str, words: &str) -> String {
    let value = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| value(text).replace(':', "%3A").replace(',', "%2C");
    let file = file.map(|file| format!("file={},", property(file))).unwrap_or_default();
    format!("::error {file}title={}::{}", property(title), value(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_annotation_is_one_line_whatever_it_says() {
        let line =
            annotation(Some("a,b.trace.jsonl"), "linearizable: seed 0x1", "100% wrong\nreplay: quorate replay x");
        assert_eq!(
            line,
            "::error file=a%2Cb.trace.jsonl,title=linearizable%3A seed 0x1::100%25 wrong%0Areplay: quorate replay x"
        );
    }
}
