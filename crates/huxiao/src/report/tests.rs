//! An account in each of its shapes.

use huxiao_core::report::{Alarm, Measure, Reach};
use huxiao_core::{Class, EventId, Kind, Mode, Rng, Span};

use super::*;

const DAY: i64 = 86_400_000_000;
const NOW: WallTime = WallTime(1_772_323_200_000_000);

fn millis(number: u64) -> Reach {
    Reach::After(Span::from_millis(number))
}

fn alarm(number: u64, displayed: Reach) -> Alarm {
    Alarm {
        id: EventId::generate(NOW, &mut Rng::new(number)),
        kind: Kind::Panic,
        class: Class::P0,
        mode: Mode::Live,
        school: "s1".parse().unwrap(),
        stations: vec![("p1".parse().unwrap(), displayed)],
        raised_at: NOW,
        reached: [millis(40), millis(90), displayed, Reach::Never, Reach::Never],
        answered_by: None,
        false_press: None,
    }
}

fn silent_school(school: &str, times: usize, seconds: u64, unclear: usize, still: bool) -> SilentSchool {
    SilentSchool { school: school.parse().unwrap(), times, total: Span::from_secs(seconds), unclear, still }
}

fn account_of(alarms: Vec<Alarm>, by: Option<By>) -> Account {
    Account {
        since: WallTime(NOW.0 - DAY),
        until: NOW,
        made_at: NOW,
        node: "http://127.0.0.1:1".to_owned(),
        standard: Standard::Good,
        by,
        missing: 0,
        report: Report::of(&alarms, Standard::Good),
        cities: by_group(&alarms, &[("s1".parse().unwrap(), "361100 上饶".to_owned())].into()),
        silent: vec![
            silent_school("s9", 3, 7_500, 0, true),
            silent_school("s2", 1, 90, 0, false),
            silent_school("s5", 1, 0, 1, false),
        ],
        alarms,
    }
}

#[test]
fn alarms_are_told_by_the_city_of_their_school() {
    let text = csv::account(&account(Some(By::City)));
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("city,raised,") && lines[1].starts_with("361100 上饶,2,1,"), "{text}");
    assert_eq!(json::account(&account(Some(By::City)))["cities"][0]["name"], "361100 上饶");
}

fn account(by: Option<By>) -> Account {
    let mut answered = alarm(1, millis(120));
    answered.reached[Measure::Acknowledged as usize] = millis(5_120);
    answered.reached[Measure::Answer as usize] = millis(5_000);
    answered.answered_by = Some("p1".parse().unwrap());
    let mut drill = alarm(2, millis(2_500));
    (drill.mode, drill.kind) = (Mode::Drill, Kind::Other("laser".parse().unwrap()));
    account_of(vec![answered, drill, alarm(3, Reach::Never)], by)
}

#[test]
fn a_terminal_shows_chinese_first_and_break_downs_where_asked() {
    let text = table::account(&account(None));
    for words in [
        "2026-02-28T08:00:00+08:00 – 2026-03-01T08:00:00+08:00",
        "真实报警 2 起，已接警 1，未接警 1；演练 1，测试 0",
        "2 live, 1 answered, 1 unanswered; 1 drills, 0 tests",
        "一键报警 One-key alarm",
        "演练 Drill",
        "按下到派出所显示 Press to a police screen",
        "未达标 missed",
        "33.33 %",
        "2.50 s",
    ] {
        assert!(text.contains(words), "{words} in\n{text}");
    }
    assert!(!text.contains("按学校") && !text.contains("误报"), "{text}");
    let schools = table::account(&account(Some(By::School)));
    assert!(schools.contains("按学校") && !schools.contains("按派出所"), "{schools}");
}

#[test]
fn a_page_needs_nothing_from_elsewhere() {
    let mut account = account(None);
    account.missing = 3;
    let page = html::account(&account);
    assert!(page.starts_with("<!DOCTYPE html>\n<html lang=\"zh-CN\">") && page.ends_with("</html>\n"));
    for foreign in ["<script", "<link", "<img", "src=", "href=", "url(", "@import", "http:"] {
        let own = page.replace(&account.node, "");
        assert!(!own.contains(foreign), "{foreign}");
    }
    for words in [
        "按学校",
        "按派出所",
        "最慢的报警",
        "本节点缺少 3 件",
        "<td class=\"missed\">未达标 missed</td>",
        "charset=\"utf-8\"",
    ] {
        assert!(page.contains(words), "{words} in\n{page}");
    }
    for tag in ["table", "tr", "td", "th", "p", "h2", "small", "thead", "tbody"] {
        let opened = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
    }
}

#[test]
fn spreadsheets_get_one_table_whose_lines_are_all_as_wide() {
    for (by, first, lines) in [
        (None, "id,raised_at,school", 4),
        (Some(By::School), "school,raised", 2),
        (Some(By::Station), "station,raised", 2),
    ] {
        let text = csv::account(&account(by));
        assert!(text.starts_with(first), "{text}");
        let widths: Vec<usize> = text.split_terminator("\r\n").map(|line| line.split(',').count()).collect();
        assert_eq!(widths.len(), lines, "{text}");
        assert!(widths.iter().all(|width| *width == widths[0]), "{text}");
    }
    let text = csv::account(&account(None));
    assert!(text.contains(",s1,panic,P0,live,p1,40.000,120.000,5120.000\r\n"), "{text}");
    assert!(text.contains(",s1,laser,P0,drill,,40.000,2500.000,\r\n"), "{text}");
}

#[test]
fn programs_get_all_of_it() {
    let json = json::account(&account(None));
    assert_eq!(json["live"], serde_json::json!({ "raised": 2, "answered": 1, "unanswered": 1 }));
    assert_eq!((&json["drill"]["raised"], &json["met"], &json["missing"]), (&1.into(), &false.into(), &0.into()));
    let displayed = &json["latencies"][Measure::Displayed as usize];
    assert_eq!(
        (&displayed["stage"], &displayed["measured"], &displayed["never"]),
        (&"displayed".into(), &2.into(), &1.into())
    );
    assert_eq!((&displayed["p50_ms"], &displayed["max_ms"]), (&120.0.into(), &2_500.0.into()));
    let hard = json["limits"].as_array().unwrap().iter().find(|limit| limit["wanted_per_mille"] == 1_000).unwrap();
    assert_eq!(
        (&hard["within"], &hard["of"], &hard["met"], &hard["hard"]),
        (&2.into(), &3.into(), &false.into(), &true.into())
    );
    assert_eq!((&json["stations"][0]["taken"], &json["schools"][0]["rehearsed"]), (&1.into(), &1.into()));
    assert!(json["slowest"][0]["displayed_ms"].is_null() && json["slowest"][1]["displayed_ms"] == 2_500.0);
    assert!(json::account(&account(Some(By::School)))["stations"].is_null());
}

#[test]
fn false_presses_have_a_column_only_where_cases_are_told_of() {
    let mut alarms = account(None).alarms;
    alarms[0].false_press = Some(true);
    let account = account_of(alarms, None);
    assert!(table::account(&account).contains("误报 false presses"));
    assert_eq!(json::account(&account)["live"]["false_presses"], 1);
}

#[test]
fn an_account_of_nothing_says_so() {
    let account = account_of(Vec::new(), Some(By::Station));
    assert!(table::account(&account).contains("无  none"));
    assert!(html::account(&account).contains("无 none"));
    assert_eq!(json::account(&account)["limits"][0]["met"], serde_json::Value::Null);
}

#[test]
fn silent_schools_are_told_of_in_every_shape() {
    let silence = account(Some(By::Silence));
    assert_eq!(
        csv::account(&silence),
        "school,times,total_ms,unclear,still\r\ns9,3,7500000.000,0,true\r\ns2,1,90000.000,0,false\r\ns5,1,0.000,1,\r\n"
    );
    let text = table::account(&silence);
    for words in [
        "曾失联学校 3 所，其中 1 所仍失联",
        "3 schools were silent, 1 of them still",
        "2.1 h",
        "90.00 s",
        "已恢复 back",
        "不明 unclear",
    ] {
        assert!(text.contains(words), "{words} in\n{text}");
    }
    let brief = table::account(&account(None));
    assert!(brief.contains("3 schools were silent") && !brief.contains("仍失联 still silent"), "{brief}");
    let page = html::account(&account(None));
    assert!(page.contains("仍失联 still silent") && page.contains("3 schools were silent"), "{page}");
    let json = json::account(&account(None));
    let first = serde_json::json!({ "name": "s9", "times": 3, "total_ms": 7_500_000.0, "unclear": 0, "still": true });
    assert_eq!(json["silent_schools"][0], first);
    assert!(json::account(&account(Some(By::School)))["silent_schools"].is_null());
}
