//! Plan files: every mistake with its place and its words, the shipped example, and files that are written and read back.

use std::collections::BTreeSet;
use std::path::Path;

use huxiao_core::Class;
use huxiao_core::plan::{Part, Plan, Province, Rung, province};

use crate::{PlanFiles, read_plan, write_plan};

/// What reading `text` as a plan says; places are `line:column`.
fn mistakes(text: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("plan.toml");
    std::fs::write(&path, text).unwrap();
    let errors = read_plan(&path).expect_err(text).to_string();
    errors.replace(&format!("{}:", path.display()), "")
}

#[track_caller]
fn hold(cases: &[(&str, &str)]) {
    let mut wrong = String::new();
    for (text, wanted) in cases {
        let found = mistakes(text);
        if found != *wanted {
            wrong.push_str(&format!("----\n{text}\nsays\n{found}\nand not\n{wanted}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    let different: BTreeSet<_> = cases.iter().map(|(text, _)| text).collect();
    assert_eq!(different.len(), cases.len(), "a case is there twice");
}

#[test]
fn tables_and_keys_that_are_none() {
    hold(&[
        ("[[school]\n", "1:10: unclosed array table, expected `]`"),
        ("school = 3\n", "1:10: write each school as a table: [[school]]"),
        (
            "school = [3]\n",
            "1:11: write each school as a table with id, name, address, position, area, silent, stations, neighbours, escalation, test_every_days, zone, device, contact, duty, drill, person_list, person_mute",
        ),
        (
            "[[pupil]]\n",
            "1:3: unknown key \"pupil\"; a plan holds [[area]], [[station]], [[school]] and [[region]] tables",
        ),
        (
            "title = \"plan\"\n",
            "1:1: unknown key \"title\"; a plan holds [[area]], [[station]], [[school]] and [[region]] tables",
        ),
        (
            "[[school]]\nid = \"s1\"\nstation = [\"a\"]\n",
            "3:1: unknown key \"station\"; a school has id, name, address, position, area, silent, stations, neighbours, escalation, test_every_days, zone, device, contact, duty, drill, person_list, person_mute",
        ),
        (
            "[[area]]\ncode = \"360000\"\nparent = \"0\"\n",
            "3:1: unknown key \"parent\"; an area has code, name, desk, escalation, school_hours, holiday",
        ),
        ("[[station]]\nid = \"a\"\ntel = \"1\"\n", "3:1: unknown key \"tel\"; a station has id, name, area, phone"),
        (
            "[[region]]\nid = \"east\"\nstations = [\"a\"]\n",
            "1:1: the region has no name: its brokers' certificates have it\n2:1: unknown key \"id\"; a region has name, stations",
        ),
        ("[[school]]\nid = \"s1\"\nstations = [\"a\"]\nzone = 3\n", "4:8: zone is an array of tables: [[school.zone]]"),
        (
            "[[school]]\nid = \"s1\"\nstations = [\"a\"]\ndevice = [\"button\"]\n",
            "4:11: write each device as a table with id, kind, place, zone, gb28181, rtsp",
        ),
        (
            "[[school]]\nid = \"s1\"\nstations = [\"a\"]\nescalation = 30\n",
            "4:14: write each escalation as a table with louder, county, city, province, dispatch_nudge, dispatch_county, dispatch_city, arrival",
        ),
        (
            "[[school]]\nid = \"s1\"\nstations = [\"a\"]\nescalation = { town = \"30s\" }\n",
            "4:16: unknown key \"town\"; an escalation has louder, county, city, province, dispatch_nudge, dispatch_county, dispatch_city, arrival",
        ),
    ]);
}

#[test]
fn values_that_are_none() {
    let school = |more: &str| format!("[[school]]\nid = \"s1\"\nstations = [\"a\"]\n{more}\n");
    let cases: Vec<(String, &str)> = vec![
        ("[[school]]\nid = 1\nstations = [\"a\"]\n".to_owned(), "2:6: a code is a text in quotation marks"),
        (
            "[[school]]\nid = \"s 1\"\nstations = [\"a\"]\n".to_owned(),
            "2:6: a name is made of letters a-z A-Z, digits and . _ - only; ' ' is not one of them",
        ),
        ("[[school]]\nid = \"s1\"\nstations = \"a\"\n".to_owned(), "3:12: stations is an array of station codes"),
        ("[[school]]\nid = \"s1\"\nstations = [\"a\", 2]\n".to_owned(), "3:18: a code is a text in quotation marks"),
        (school("name = 7"), "4:8: name is a text"),
        (school("name = \" 一小\""), "4:8: this text begins or ends with a blank"),
        (school(&format!("address = \"{}\"", "路".repeat(65))), "4:11: this text has 195 bytes; at most 192 are taken"),
        (school("area = 361102"), "4:8: an area code is a text in quotation marks, such as \"361102\""),
        (
            school("area = \"36110\""),
            "4:8: \"36110\" is no area code: six digits of GB/T 2260 such as 361102, the first of which is no zero",
        ),
        (school("silent = \"yes\""), "4:10: silent is true or false"),
        (school("position = { lat = 91.0, lon = 0.0 }"), "4:12: a latitude is from -90 to 90 degrees"),
        (school("position = { lat = 28.5, lon = 181 }"), "4:12: a longitude is from -180 to 180 degrees"),
        (
            school("position = { lat = 28.4548631, lon = 1.0 }"),
            "4:20: lat is a number of degrees with at most six digits behind the point, such as 28.454863",
        ),
        (
            school("position = { lat = \"28\", lon = 1.0 }"),
            "4:20: lat is a number of degrees with at most six digits behind the point, such as 28.454863",
        ),
        (school("position = { lat = 28.5 }"), "4:12: the position has no lon"),
        (school("escalation = { county = 30 }"), "4:25: county is a length of time such as \"30s\" or \"2m\""),
        (school("escalation = { county = \"30\" }"), "4:25: county is a length of time such as \"30s\" or \"2m\""),
        (school("test_every_days = -1"), "4:19: test_every_days is a whole number from 0 to 65535"),
        (school("test_every_days = \"monthly\""), "4:19: test_every_days is a whole number from 0 to 65535"),
    ];
    let cases: Vec<(&str, &str)> = cases.iter().map(|(text, wanted)| (text.as_str(), *wanted)).collect();
    hold(&cases);
}

#[test]
fn values_of_zones_devices_and_hours_that_are_none() {
    let school = |more: &str| format!("[[school]]\nid = \"s1\"\nstations = [\"a\"]\n{more}\n");
    let cases: Vec<(String, &str)> = vec![
        (school("zone = [{ id = \"z1\" }]"), "4:9: the zone has no line"),
        (school("zone = [{ line = \"gate\" }]"), "4:9: the zone has no id"),
        (school("zone = [{ id = \"z1\", line = \"door\" }]"), "4:29: \"door\" is no line; there are far, gate, inner"),
        (school("device = [{ id = \"d1\" }]"), "4:11: the device has no kind"),
        (
            school("device = [{ id = \"d1\", kind = \"lamp\" }]"),
            "4:31: \"lamp\" is no kind of device; there are button, guard_post, camera, speaker, security_gate",
        ),
        (
            school("device = [{ id = \"c1\", kind = \"camera\", gb28181 = \"361102\" }]"),
            "4:51: a GB/T 28181 code has twenty digits; \"361102\" has not",
        ),
        (
            school("device = [{ id = \"c1\", kind = \"camera\", rtsp = \"http://10.0.0.1\" }]"),
            "4:48: a camera's address begins with rtsp:// or rtsps:// and names a host; \"http://10.0.0.1\" does not",
        ),
        (
            school(
                "device = [{ id = \"c1\", kind = \"camera\", rtsp = \"rtsp://a\", gb28181 = \"36110200111310000001\" }]",
            ),
            "4:48: a camera has gb28181 or rtsp, not both",
        ),
        (
            school("contact = [{ name = \"王\", phone = \"call me\" }]"),
            "4:34: a phone number is made of digits, + - # ( ) and blanks; 'c' is not one of them",
        ),
        (
            school("duty = [{ weekdays = [\"mo\"], from = \"07:00\", to = \"08:00\" }]"),
            "4:23: \"mo\" is no weekday: write mon, tue, wed, thu, fri, sat or sun",
        ),
        (
            school("duty = [{ weekdays = [\"mon\"], from = \"7:00\", to = \"08:00\" }]"),
            "4:38: \"7:00\" is no time of the day: write 07:30, at most 24:00",
        ),
        (school("duty = [{ weekdays = [\"mon\"], from = \"07:00\" }]"), "4:9: the duty has no to"),
        (
            school("duty = [{ weekdays = \"mon\", from = \"07:00\", to = \"08:00\" }]"),
            "4:22: weekdays is an array of weekdays, such as [\"mon\", \"tue\"]",
        ),
        (
            school("drill = [{ date = 2026-12-01T10:00:00, from = \"10:00\", to = \"10:30\" }]"),
            "4:19: date is a date such as 2026-12-01",
        ),
        (
            school("drill = [{ date = \"2026-02-30\", from = \"10:00\", to = \"10:30\" }]"),
            "4:19: \"2026-02-30\" is no day: write 2026-12-01, from 2000 to 2199",
        ),
        (school("drill = [{ from = \"10:00\", to = \"10:30\" }]"), "4:10: the drill has no date"),
        ("[[area]]\nname = \"江西省\"\n".to_owned(), "1:1: the area has no code"),
        (
            "[[area]]\ncode = \"060000\"\n".to_owned(),
            "2:8: \"060000\" is no area code: six digits of GB/T 2260 such as 361102, the first of which is no zero",
        ),
        ("[[station]]\nname = \"东市\"\n".to_owned(), "1:1: the station has no id"),
        ("[[station]]\nid = \"a\"\nphone = 110\n".to_owned(), "3:9: phone is a text in quotation marks"),
    ];
    let cases: Vec<(&str, &str)> = cases.iter().map(|(text, wanted)| (text.as_str(), *wanted)).collect();
    hold(&cases);
}

#[test]
fn parts_that_are_no_plan_together() {
    let school = |more: &str| format!("[[school]]\nid = \"s1\"\nstations = [\"a\"]\n{more}\n");
    let crowd: Vec<String> = (0..17).map(|at| format!("\"p{at}\"")).collect();
    let zones: Vec<String> = (0..17).map(|at| format!("{{ id = \"z{at}\", line = \"gate\" }}")).collect();
    let cases: Vec<(String, &str)> = vec![
        ("[[school]]\nid = \"s1\"\n".to_owned(), "1:1: school s1 has no station: give it at least one"),
        ("[[school]]\nstations = [\"a\"]\n".to_owned(), "1:1: the school has no id"),
        ("[[school]]\nid = \"s1\"\nstations = [\"a\", \"a\"]\n".to_owned(), "1:1: school s1 names station a twice"),
        (
            format!("[[school]]\nid = \"s1\"\nstations = [{}]\n", crowd.join(", ")),
            "1:1: school s1 has 17 stations; at most 16 are taken",
        ),
        (
            "[[region]]\nstations = [\"a\"]\n".to_owned(),
            "1:1: the region has no name: its brokers' certificates have it",
        ),
        ("[[region]]\nname = \"east\"\n".to_owned(), "1:1: region east has no station: give it at least one"),
        (school("[[station]]\nid = \"b\""), "1:1: school s1 names station a, which the plan does not list"),
        (school("neighbours = [\"a\"]"), "1:1: school s1 has station a for a neighbour, and among its own stations"),
        (school("area = \"361102\""), "1:1: school s1 is in area 361102, which the plan does not list"),
        (
            school("escalation = { county = \"5s\" }"),
            "1:1: school s1 escalates to county after 5 s; it is from 10 to 180 s\n1:1: school s1 escalates to louder after 15 s and to county after 5 s; the second must be later",
        ),
        (
            school("escalation = { city = \"90s\", province = \"60s\" }"),
            "1:1: school s1 escalates to city after 90 s and to province after 60 s; the second must be later",
        ),
        (school("test_every_days = 93"), "1:1: school s1 is tested every 93 days; it is from 1 to 92"),
        (school(&format!("zone = [{}]", zones.join(", "))), "1:1: school s1 has 17 zones; at most 16 are taken"),
        (
            school("zone = [{ id = \"z\", line = \"far\" }, { id = \"z\", line = \"gate\" }]"),
            "1:1: school s1 has two zones with the id z",
        ),
    ];
    let cases: Vec<(&str, &str)> = cases.iter().map(|(text, wanted)| (text.as_str(), *wanted)).collect();
    hold(&cases);
}

#[test]
fn devices_people_hours_and_areas_that_are_no_plan_together() {
    let school = |more: &str| format!("[[school]]\nid = \"s1\"\nstations = [\"a\"]\n{more}\n");
    let cases: Vec<(String, &str)> = vec![
        (
            school("device = [{ id = \"d\", kind = \"button\", zone = \"z\" }]"),
            "1:1: school s1 has device d in zone z, which it does not list",
        ),
        (school("device = [{ id = \"c\", kind = \"camera\" }]"), "1:1: school s1 has camera c without gb28181 or rtsp"),
        (
            school("device = [{ id = \"b\", kind = \"button\", rtsp = \"rtsp://a\" }]"),
            "1:1: school s1 has a picture for b, which is a button and no camera",
        ),
        (school("contact = [{ name = \"王\" }]"), "1:1: school s1 has a contact without phone"),
        (school("contact = [{ phone = \"110\" }]"), "1:1: school s1 has a contact without name"),
        (
            school("duty = [{ weekdays = [\"mon\"], from = \"08:00\", to = \"08:00\" }]"),
            "1:1: school s1 has duty at 08:00–08:00: it must end after it begins, on the same day",
        ),
        (
            school("duty = [{ from = \"07:00\", to = \"08:00\" }]"),
            "1:1: school s1 has duty hours on no day of the week",
        ),
        (
            school("duty = [{ weekdays = [\"mon\"], from = \"07:00\", to = \"08:00\", absent_after = \"5s\" }]"),
            "1:1: school s1 tells of an empty post after 5 s; it is from 10 to 900 s",
        ),
        (
            school("drill = [{ date = 2026-12-01, from = \"10:00\", to = \"10:31\" }]"),
            "1:1: school s1 has a drill of 31 min; at most 30 are taken",
        ),
        (
            school("drill = [{ date = 2026-12-01, from = \"10:30\", to = \"10:00\" }]"),
            "1:1: school s1 has a drill at 10:30–10:00: it must end after it begins, on the same day",
        ),
        (
            "[[area]]\ncode = \"361102\"\n".to_owned(),
            "1:1: area 361102 needs area 361100 around it, which the plan does not list",
        ),
        (
            "[[area]]\ncode = \"360000\"\ndesk = \"b\"\n[[station]]\nid = \"a\"\n".to_owned(),
            "1:1: area 360000 names station b, which the plan does not list",
        ),
        (
            "[[station]]\nid = \"a\"\narea = \"361102\"\n".to_owned(),
            "1:1: station a is in area 361102, which the plan does not list",
        ),
        (
            "[[station]]\nid = \"a\"\n[[station]]\nid = \"a\"\n".to_owned(),
            "3:1: station a stands in the plan twice; first in 1",
        ),
    ];
    let cases: Vec<(&str, &str)> = cases.iter().map(|(text, wanted)| (text.as_str(), *wanted)).collect();
    hold(&cases);
}

#[test]
fn school_hours_holidays_and_limits_of_dispatch_that_are_none() {
    let area = |more: &str| format!("[[area]]\ncode = \"360000\"\n{more}\n");
    let cases = [
        (
            area("[[area.holiday]]\nfrom = 2026-10-07\nto = 2026-10-01"),
            "1:1: area 360000 has a holiday from 2026-10-07 to 2026-10-01: it must not end before it begins",
        ),
        (area("[[area.holiday]]\nfrom = 2026-10-07"), "3:1: the holiday has no to"),
        (
            area("[[area.school_hours]]\nfrom = \"07:00\"\nto = \"18:00\""),
            "1:1: area 360000 has school hours on no day of the week",
        ),
        (
            area("[[area.school_hours]]\nweekdays = [\"mon\"]\nfrom = \"18:00\"\nto = \"07:00\""),
            "1:1: area 360000 has school at 18:00–07:00: it must end after it begins, on the same day",
        ),
        (
            area("escalation = { arrival = \"60s\" }"),
            "1:1: area 360000 escalates to arrival after 60 s; it is from 180 to 1800 s\n1:1: area 360000 escalates to dispatch_city \
             after 180 s and to arrival after 60 s; the second must be later",
        ),
        (
            area("escalation = { dispatch_nudge = \"200s\" }"),
            "1:1: area 360000 escalates to dispatch_nudge after 200 s and to dispatch_county after 120 s; the second must be later",
        ),
    ];
    let cases: Vec<(&str, &str)> = cases.iter().map(|(text, wanted)| (text.as_str(), *wanted)).collect();
    hold(&cases);
}

#[test]
fn mistakes_of_all_files_of_a_folder_are_named_at_once() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("schools")).unwrap();
    let file = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    file("a.toml", "[[station]]\nid = \"p1\"\n");
    file("schools/b.toml", "[[school]]\nid = \"s1\"\nstations = [\"p1\"]\n");
    file("schools/c.toml", "\n[[school]]\nid = \"s1\"\nstations = [\"p2\"]\n[[school]]\nid = 7\n");
    file("schools/notes.md", "no plan");
    let said = read_plan(dir.path()).unwrap_err().to_string().replace(&format!("{}/", dir.path().display()), "");
    assert_eq!(
        said,
        "schools/c.toml:2:1: school s1 stands in the plan twice; first in schools/b.toml:1\n\
         schools/c.toml:6:6: a code is a text in quotation marks"
    );
    file("schools/c.toml", "");
    assert_eq!(read_plan(dir.path()).unwrap().schools(), 1);
    let empty = tempfile::tempdir().unwrap();
    assert!(read_plan(empty.path()).unwrap_err().to_string().ends_with("holds no file that ends in .toml"));
}

#[test]
fn a_part_of_a_plan_is_put_into_the_rest() {
    let mut base = Plan::default();
    base.add("s1".parse().unwrap(), vec!["a".parse().unwrap()]).unwrap();
    base.add("s2".parse().unwrap(), vec!["a".parse().unwrap()]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s2.toml");
    std::fs::write(&path, "[[school]]\nid = \"s2\"\nstations = [\"b\"]\n").unwrap();
    let (next, counts) = PlanFiles::read(&[path]).unwrap().onto(&base).unwrap();
    assert_eq!((next.schools(), counts.schools.changed, counts.schools.removed), (2, 1, 0));
    assert_eq!(next.route(&"s2".parse().unwrap()), ["b".parse().unwrap()]);
}

fn example() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/plan/jiangxi")
}

#[test]
fn the_shipped_example_is_a_plan_with_everything_in_it() {
    let plan = read_plan(&example()).unwrap();
    let cities = plan.areas();
    assert!(cities > 12 && plan.schools() >= 3, "{cities} areas");
    let school = "3611020001".parse().unwrap();
    let up = plan.escalation(&school);
    assert_eq!(Rung::Louder.after(&up).as_secs(), 10);
    let said = plan.explain(&school, Class::P0, huxiao_core::WallTime(0));
    let parts: BTreeSet<&str> = said.reaches.iter().map(|reach| reach.part.as_str()).collect();
    assert_eq!(parts.len(), 6, "{parts:?}");
    assert!(matches!(said.reaches[0].part, Part::Owner));
    let whole = plan.school(&school).unwrap();
    assert!(
        !whole.zones.is_empty() && !whole.contacts.is_empty() && !whole.duty.is_empty() && !whole.drills.is_empty()
    );
    let kinds: BTreeSet<&str> = whole.devices.iter().map(|device| device.kind.as_str()).collect();
    assert_eq!(kinds.len(), 5, "one of each kind");
}

#[test]
fn what_is_written_is_read_back() {
    for plan in [read_plan(&example()).unwrap(), province(&Province { schools: 200, stations: 30, seed: 5 }).unwrap()] {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in write_plan(&plan) {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let again = read_plan(dir.path()).unwrap();
        assert!(again == plan, "{:?}", plan.difference(&again));
        assert_eq!(crate::plan_digest(&again), crate::plan_digest(&plan));
    }
}
