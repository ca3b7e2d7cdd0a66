//! `huxiao kinds`: what can happen at a school, and what is expected of whom then.

use std::fmt::Write as _;

use clap::Args;
use huxiao_core::event::taxonomy::{COMMON, Detail, TABLE};
use serde_json::{Value, json};

use crate::exit::{Code, Outcome};
use crate::output::{self, Format};

/// Arguments of `kinds`.
#[derive(Debug, Args)]
pub struct KindsArgs {
    /// How it is shown
    #[arg(long, value_enum, default_value = "table")]
    output: Format,
}

/// Runs it.
///
/// # Errors
/// Nobody reads what is printed.
pub fn run(args: &KindsArgs) -> Outcome {
    match args.output {
        Format::Table => output::finish(Code::Ok, &markdown()),
        Format::Json => output::finish_json(Code::Ok, &json()),
    }
}

/// The table as documentation has it.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from(
        "| kind | class | 名称 | name | details | kept, days | 处置 | expected answer | Contact ID | GB/T 28181 |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for line in TABLE {
        let ((zh, en), (answer_zh, answer_en)) = (line.kind.words(), line.answer);
        let details: Vec<String> = line.details.iter().map(detail).collect();
        // A text takes everything.
        let _ = writeln!(
            text,
            "| `{}` | {} | {zh} | {en} | {} | {} | {answer_zh} | {answer_en} | {} | {} |",
            line.kind,
            line.class(),
            details.join(", "),
            line.keep_days,
            line.contact_id,
            line.gb28181
        );
    }
    let common: Vec<String> = COMMON.iter().map(|detail| format!("`{}`", detail.name)).collect();
    let _ = writeln!(text, "\nDetails in bold must be there. Every kind may have {}.", common.join(", "));
    text
}

fn detail(detail: &Detail) -> String {
    let name = if detail.required { format!("**`{}`**", detail.name) } else { format!("`{}`", detail.name) };
    format!("{name} ({})", detail.form.words())
}

fn json() -> Value {
    let detail =
        |detail: &Detail| json!({ "name": detail.name, "form": detail.form.words(), "required": detail.required });
    let kinds = TABLE.iter().map(|line| {
        let ((zh, en), (answer_zh, answer_en)) = (line.kind.words(), line.answer);
        json!({
            "kind": line.kind.as_str(), "class": line.class().as_str(), "text": { "zh": zh, "en": en },
            "details": line.details.iter().map(detail).collect::<Vec<_>>(), "keep_days": line.keep_days,
            "answer": { "zh": answer_zh, "en": answer_en },
            "contact_id": line.contact_id, "gb28181": line.gb28181,
        })
    });
    json!({ "kinds": kinds.collect::<Vec<_>>(), "common": COMMON.iter().map(detail).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_the_table_as_it_is() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/API.md");
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.contains(&markdown()), "put what `huxiao kinds` prints into docs/API.md:\n{}", markdown());
    }
}
