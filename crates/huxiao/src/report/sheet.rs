//! The tables of an account: what stands in each, once for people and once for programs.

use huxiao_core::report::{Alarm, Counts, Judgement, Measure, Place, Quantiles, Reach, SilentSchool};
use huxiao_core::{Class, Kind, Mode, Span, WallTime};
use huxiao_runtime::time_format::rfc3339;

use super::moment::china;
use super::{Account, By};

/// One table.
pub(crate) struct Sheet {
    /// What it is about: Chinese, English.
    pub(crate) title: (&'static str, &'static str),
    /// Each column: its name for programs, and what it is called: Chinese, English.
    pub(crate) columns: Vec<(&'static str, &'static str, &'static str)>,
    /// The lines.
    pub(crate) rows: Vec<Vec<Cell>>,
}

/// What stands in one place of a table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    /// A name.
    Name(String),
    /// A word that programs know: the word, Chinese, English.
    Word(String, String, String),
    /// How many.
    Count(usize),
    /// How long; nothing if nobody knows.
    Time(Option<Span>),
    /// So many of so many; nothing if there is nothing to judge.
    Share(usize, usize),
    /// Whether a limit was met; nothing if there is nothing to judge.
    Met(Option<bool>),
    /// A point in time.
    At(WallTime),
}

impl Cell {
    /// For programs. Nothing for what is not known.
    pub(crate) fn plain(&self) -> String {
        match self {
            Cell::Name(name) | Cell::Word(name, ..) => name.clone(),
            Cell::Count(count) => count.to_string(),
            Cell::Time(time) => time.map_or_else(String::new, |time| format!("{:.3}", time.as_secs_f64() * 1e3)),
            Cell::Share(_, 0) => String::new(),
            Cell::Share(part, all) => format!("{}.{:05}", part / all, part % all * 100_000 / all),
            Cell::Met(met) => met.map_or_else(String::new, |met| met.to_string()),
            Cell::At(at) => rfc3339(*at),
        }
    }

    /// For people: Chinese first.
    pub(crate) fn shown(&self) -> String {
        match self {
            Cell::Word(_, zh, en) => format!("{zh} {en}").trim().to_owned(),
            Cell::Time(time) => time.map_or_else(|| "–".to_owned(), length),
            Cell::Share(_, 0) => "–".to_owned(),
            // Cut and not rounded: 100 % is all.
            Cell::Share(part, all) => format!("{}.{:02} %", part * 100 / all, part * 10_000 / all % 100),
            Cell::Met(met) => match met {
                Some(true) => "达标 met".to_owned(),
                Some(false) => "未达标 missed".to_owned(),
                None => "–".to_owned(),
            },
            Cell::At(at) => china(*at),
            other => other.plain(),
        }
    }
}

/// A length of time in the unit that fits.
fn length(time: Span) -> String {
    match time.as_secs_f64() {
        seconds if seconds < 1.0 => format!("{:.1} ms", seconds * 1e3),
        seconds if seconds < 120.0 => format!("{seconds:.2} s"),
        seconds if seconds < 7_200.0 => format!("{:.1} min", seconds / 60.0),
        seconds if seconds < 172_800.0 => format!("{:.1} h", seconds / 3_600.0),
        seconds => format!("{:.1} d", seconds / 86_400.0),
    }
}

fn word(name: &str, (zh, en): (&str, &str)) -> Cell {
    Cell::Word(name.to_owned(), zh.to_owned(), en.to_owned())
}

fn kind(kind: &Kind) -> Cell {
    // What a newer node raises has its name and no words.
    word(kind.as_str(), if kind.class().is_some() { kind.words() } else { (kind.as_str(), "") })
}

fn mode(mode: Mode) -> Cell {
    word(mode.as_str(), if mode == Mode::Live { ("真实", "Live") } else { mode.words() })
}

/// All of an account that people read, in order.
pub(super) fn sheets(account: &Account) -> Vec<Sheet> {
    let mut sheets = vec![kinds(account), latencies(account), limits(account)];
    if account.has(By::School) {
        sheets.push(schools(account));
    }
    if account.has(By::Station) {
        sheets.push(stations(account));
    }
    if account.by == Some(By::City) {
        sheets.push(cities(account));
    }
    if account.has(By::Silence) {
        sheets.push(silences(account));
    }
    sheets.push(slowest(account));
    sheets
}

/// Whether anything is said of cases, and so of false presses.
fn tells_of_cases(account: &Account) -> bool {
    account.report.modes.values().any(|counts| counts.false_presses.is_some())
}

fn counts_columns(account: &Account) -> Vec<(&'static str, &'static str, &'static str)> {
    let mut columns =
        vec![("raised", "报警", "raised"), ("answered", "已接警", "answered"), ("unanswered", "未接警", "unanswered")];
    if tells_of_cases(account) {
        columns.push(("false_presses", "误报", "false presses"));
    }
    columns
}

fn counts(account: &Account, counts: &Counts) -> Vec<Cell> {
    let mut cells = vec![counts.raised, counts.answered, counts.unanswered()];
    if tells_of_cases(account) {
        cells.push(counts.false_presses.unwrap_or(0));
    }
    cells.into_iter().map(Cell::Count).collect()
}

fn kinds(account: &Account) -> Sheet {
    let mut columns = vec![("class", "级别", "class"), ("kind", "种类", "kind"), ("mode", "性质", "mode")];
    columns.extend(counts_columns(account));
    let row = |((class, of, how), sum): (&(Class, Kind, Mode), &Counts)| {
        let mut row = vec![Cell::Name(class.to_string()), kind(of), mode(*how)];
        row.extend(counts(account, sum));
        row
    };
    Sheet { title: ("报警数量", "Alarms"), columns, rows: account.report.kinds.iter().map(row).collect() }
}

const QUANTILES: [(&str, &str, &str); 7] = [
    ("measured", "计量", "measured"),
    ("unclear", "时钟不明", "unclear"),
    ("never", "未到达", "never"),
    ("p50_ms", "p50", ""),
    ("p90_ms", "p90", ""),
    ("p99_ms", "p99", ""),
    ("max_ms", "最大", "max"),
];

fn quantiles(of: &Quantiles) -> [Cell; 7] {
    let Quantiles { measured, unclear, never, p50, p90, p99, max } = *of;
    let [measured, unclear, never] = [measured, unclear, never].map(Cell::Count);
    let [p50, p90, p99, max] = [p50, p90, p99, max].map(Cell::Time);
    [measured, unclear, never, p50, p90, p99, max]
}

fn measure(measure: Measure) -> Cell {
    word(measure.as_str(), measure.words())
}

fn latencies(account: &Account) -> Sheet {
    let row = |(what, of): &(Measure, Quantiles)| [vec![measure(*what)], quantiles(of).to_vec()].concat();
    Sheet {
        title: ("各阶段用时", "How long each stage took"),
        columns: [vec![("stage", "阶段", "stage")], QUANTILES.to_vec()].concat(),
        rows: account.report.latencies.iter().map(row).collect(),
    }
}

fn limits(account: &Account) -> Sheet {
    let row = |judgement: &Judgement| {
        let limit = judgement.limit;
        let rank = if limit.hard { ("hard", "硬性", "hard") } else { ("aim", "目标", "aim") };
        vec![
            measure(limit.measure),
            Cell::Time(Some(limit.within)),
            Cell::Name(format!("{}.{} %", limit.per_mille / 10, limit.per_mille % 10)),
            Cell::Share(judgement.within, judgement.of),
            Cell::Count(judgement.within),
            Cell::Count(judgement.of),
            Cell::Met(judgement.met()),
            word(rank.0, (rank.1, rank.2)),
        ]
    };
    Sheet {
        title: ("时限达标情况", "Limits, and whether they were met"),
        columns: vec![
            ("stage", "阶段", "stage"),
            ("within_ms", "时限", "within"),
            ("wanted", "应达", "wanted"),
            ("share", "实达", "share"),
            ("within", "时限内", "in time"),
            ("of", "总数", "of"),
            ("met", "结论", "verdict"),
            ("rank", "性质", "rank"),
        ],
        rows: account.report.judgements.iter().map(row).collect(),
    }
}

fn place<N: ToString>(account: &Account, place: &Place<N>, taken: bool) -> Vec<Cell> {
    let mut row = vec![Cell::Name(place.name.to_string())];
    row.extend(counts(account, &place.live));
    if taken {
        row.push(Cell::Count(place.taken));
    }
    row.push(Cell::Count(place.rehearsed));
    row.extend(quantiles(&place.displayed));
    row
}

fn place_columns(
    account: &Account,
    name: (&'static str, &'static str, &'static str),
    taken: bool,
) -> Vec<(&'static str, &'static str, &'static str)> {
    let mut columns = vec![name];
    columns.extend(counts_columns(account));
    if taken {
        columns.push(("taken", "本所接警", "answered here"));
    }
    columns.push(("rehearsed", "演练测试", "drills, tests"));
    columns.extend(QUANTILES);
    columns
}

/// By school.
pub(super) fn schools(account: &Account) -> Sheet {
    Sheet {
        title: ("按学校（用时：按下到显示）", "By school (times: press to screen)"),
        columns: place_columns(account, ("school", "学校", "school"), false),
        rows: account.report.schools.iter().map(|school| place(account, school, false)).collect(),
    }
}

/// By city.
pub(super) fn cities(account: &Account) -> Sheet {
    Sheet {
        title: ("按市（用时：按下到显示）", "By city (times: press to screen)"),
        columns: place_columns(account, ("city", "市", "city"), false),
        rows: account.cities.iter().map(|city| place(account, city, false)).collect(),
    }
}

/// By station.
pub(super) fn stations(account: &Account) -> Sheet {
    Sheet {
        title: ("按派出所（用时：按下到本所显示）", "By station (times: press to a screen there)"),
        columns: place_columns(account, ("station", "派出所", "station"), true),
        rows: account.report.stations.iter().map(|station| place(account, station, true)).collect(),
    }
}

/// The schools that were silent.
pub(super) fn silences(account: &Account) -> Sheet {
    let row = |silent: &SilentSchool| {
        let still = if silent.still { ("true", "仍失联", "still silent") } else { ("false", "已恢复", "back") };
        // Of one whose end nobody knows it cannot be said that it is back.
        let unknown = ("", "不明", "unclear");
        let state = if silent.unclear > 0 && !silent.still { unknown } else { still };
        vec![
            Cell::Name(silent.school.to_string()),
            Cell::Count(silent.times),
            Cell::Time(Some(silent.total)),
            Cell::Count(silent.unclear),
            word(state.0, (state.1, state.2)),
        ]
    };
    Sheet {
        title: (
            "失联学校（自通报起计时；区域断联不计）",
            "Silent schools (from when the region told of it; outages of an area not counted)",
        ),
        columns: vec![
            ("school", "学校", "school"),
            ("times", "次数", "times"),
            ("total_ms", "合计时长", "in all"),
            ("unclear", "时长不明", "of unknown length"),
            ("still", "现状", "now"),
        ],
        rows: account.silent.iter().map(row).collect(),
    }
}

const ALARM: [(&str, &str, &str); 10] = [
    ("id", "编号", "id"),
    ("raised_at", "报警时间", "raised at"),
    ("school", "学校", "school"),
    ("kind", "种类", "kind"),
    ("class", "级别", "class"),
    ("mode", "性质", "mode"),
    ("answered_by", "接警", "answered by"),
    ("stored_ms", "存盘", "stored"),
    ("displayed_ms", "显示", "displayed"),
    ("acknowledged_ms", "接警用时", "acknowledged"),
];

fn alarm(alarm: &Alarm) -> Vec<Cell> {
    let time = |measure| Cell::Time(Reach::span(alarm.reach(measure)));
    vec![
        Cell::Name(alarm.id.to_string()),
        Cell::At(alarm.raised_at),
        Cell::Name(alarm.school.to_string()),
        kind(&alarm.kind),
        Cell::Name(alarm.class.to_string()),
        mode(alarm.mode),
        Cell::Name(alarm.answered_by.as_ref().map_or_else(String::new, ToString::to_string)),
        time(Measure::Stored),
        time(Measure::Displayed),
        time(Measure::Acknowledged),
    ]
}

fn slowest(account: &Account) -> Sheet {
    Sheet {
        title: ("最慢的报警（显示用时为空：从未显示）", "The slowest alarms (no time: on no screen)"),
        columns: ALARM.to_vec(),
        rows: account.report.slowest.iter().map(alarm).collect(),
    }
}

/// A line for each alarm.
pub(super) fn alarms(account: &Account) -> Sheet {
    Sheet {
        title: ("全部报警", "All alarms"),
        columns: ALARM.to_vec(),
        rows: account.alarms.iter().map(alarm).collect(),
    }
}
