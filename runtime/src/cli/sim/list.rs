//! `quorate sim list`: what there is to choose from, and what is judged.

use std::fmt::Write;

use clap::Args;
use quorate_sim::Property;
use quorate_sim::plan::Scenario;
use quorate_traces::FaultKind;
use serde_json::json;

use super::select::GROUPS;
use crate::cli::console::{Console, Format, ResultFile};
use crate::cli::exit::{Ended, Exit};

/// List scenarios, properties and kinds of faults
#[derive(Args, Debug)]
pub(crate) struct List {
    #[command(flatten)]
    file: ResultFile,
}

impl List {
    pub(super) fn run(&self, console: &Console) -> Ended {
        let text = if console.format == Format::Text { text() } else { object() };
        console.print(&self.file, &text)?;
        Ok(Exit::Ok)
    }
}

fn text() -> String {
    let mut text = String::new();
    let mut line = |words: String| writeln!(text, "{words}").expect("a string takes all");
    line("scenarios".to_string());
    for scenario in Scenario::ALL {
        line(format!("  {:<14} {}", scenario.name(), scenario.about()));
    }
    line("\nproperties judged in every run".to_string());
    for row in Property::ALL.chunks(6) {
        line(format!("  {}", row.iter().map(|property| property.name()).collect::<Vec<_>>().join(", ")));
    }
    line("\nkinds of faults (--faults)".to_string());
    for row in FaultKind::ALL.chunks(10) {
        line(format!("  {}", row.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ")));
    }
    line("\ngroups of faults".to_string());
    for (name, kinds) in GROUPS {
        line(format!("  {name:<8} {}", kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ")));
    }
    text
}

fn object() -> String {
    let scenarios: Vec<_> =
        Scenario::ALL.iter().map(|scenario| json!({"name": scenario.name(), "about": scenario.about()})).collect();
    let properties: Vec<_> = Property::ALL.iter().map(|property| property.name()).collect();
    let faults: Vec<_> = FaultKind::ALL.iter().map(|kind| kind.name()).collect();
    let object =
        json!({"schema": "quorate.sim-list/1", "scenarios": scenarios, "properties": properties, "faults": faults});
    format!("{object}\n")
}
