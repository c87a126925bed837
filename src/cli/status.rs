//! `gnomon status`: everything about the running appliance on one screen.

use std::{path::Path, process::ExitCode};

use serde_json::Value;

use super::{admin::ask_json, fail};
use crate::{
    config::Config,
    io::{
        logging::harmless,
        status_tables::{Mark, Table, headline, is_ready, tables},
    },
};

/// Prints it; fails where the appliance is not ready.
pub fn run(file: &Path, json: bool) -> ExitCode {
    match Config::read(file).and_then(|config| ask_json(&config, "/status")) {
        Ok(status) => {
            if json {
                say!("{status:#}");
            } else {
                print(&status);
            }
            match is_ready(&status) {
                true => ExitCode::SUCCESS,
                false => ExitCode::FAILURE,
            }
        }
        Err(problems) => fail(&problems),
    }
}

fn print(status: &Value) {
    say!("{}", harmless(&headline(status)));
    for table in tables(status) {
        say!("{}", table.title.to_lowercase());
        print_table(&table);
    }
}

/// In columns, the last of which is not filled up. What is wrong has a mark at the line's start.
fn print_table(table: &Table) {
    let head = table.head.iter().map(|&cell| cell.to_owned()).collect();
    let rows = table.rows.iter().map(|row| {
        let mark = match row.mark {
            Mark::Plain | Mark::Good => ' ',
            Mark::Warning | Mark::Bad => '!',
        };
        let cells = row.cells.iter().map(|cell| harmless(cell)).collect();
        (mark, cells)
    });
    let lines: Vec<(char, Vec<String>)> = std::iter::once((' ', head)).chain(rows).collect();
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|(_, cells)| cells.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..table.head.len()).map(width).collect();
    for (mark, cells) in &lines {
        let mut line = format!("{mark} ");
        for (cell, width) in cells.iter().zip(&widths) {
            line.push_str(&format!("{cell:width$}  "));
        }
        say!("{}", line.trim_end());
    }
}
