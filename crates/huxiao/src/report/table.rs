//! An account at a terminal.

use huxiao_core::Mode;

use super::moment::china;
use super::sheet::{Cell, Sheet, sheets};
use super::{Account, By, missing_words};
use crate::output;

/// The account for people. The break-downs only where they are asked for: a region has thousands of schools.
pub(super) fn account(account: &Account) -> String {
    let mut rows = vec![
        ("time", format!("{} – {}", china(account.since), china(account.until))),
        ("node", account.node.clone()),
        ("alarms", headline(account)),
        ("limits", both(account.standard.words())),
    ];
    rows.push(("silent", silent(account)));
    rows.extend(missing_words(account.missing).map(|[zh, en]| ("INCOMPLETE", format!("{zh}  {en}"))));
    let mut text = output::pairs(&rows);
    for sheet in sheets(account).iter().filter(|sheet| account.by.is_some() || !is_break_down(sheet)) {
        text.push_str(&format!("\n{}\n{}", both(sheet.title), lines(sheet)));
    }
    text
}

fn is_break_down(sheet: &Sheet) -> bool {
    let first = sheet.columns.first().map(|(name, ..)| *name);
    [By::School, By::Station, By::City, By::Silence].into_iter().any(|by| first == Some(by.column()))
}

/// What was meant in one sentence, and how many others there were.
pub(super) fn headline(account: &Account) -> String {
    let live = account.report.live();
    let of = |mode| account.report.modes.get(&mode).map_or(0, |counts| counts.raised);
    let (answered, unanswered, drills, tests) = (live.answered, live.unanswered(), of(Mode::Drill), of(Mode::Test));
    format!(
        "真实报警 {} 起，已接警 {answered}，未接警 {unanswered}；演练 {drills}，测试 {tests}  {} live, {answered} answered, \
         {unanswered} unanswered; {drills} drills, {tests} tests",
        live.raised, live.raised
    )
}

/// How many schools were silent.
pub(super) fn silent(account: &Account) -> String {
    let (schools, still) = (account.silent.len(), account.silent.iter().filter(|school| school.still).count());
    format!(
        "曾失联学校 {schools} 所，其中 {still} 所仍失联（不计区域断联）  {schools} schools were silent, {still} of them still \
         (outages of an area not counted)"
    )
}

fn both((zh, en): (&str, &str)) -> String {
    format!("{zh}  {en}").trim().to_owned()
}

fn lines(sheet: &Sheet) -> String {
    if sheet.rows.is_empty() {
        return "无  none\n".to_owned();
    }
    let header: Vec<String> = sheet.columns.iter().map(|(_, zh, en)| format!("{zh} {en}").trim().to_owned()).collect();
    let mut table = output::table(&header.iter().map(String::as_str).collect::<Vec<_>>());
    for row in &sheet.rows {
        table.add_row(row.iter().map(Cell::shown));
    }
    output::render(&table)
}
