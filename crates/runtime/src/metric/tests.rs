use std::collections::BTreeSet;

use super::*;

#[test]
fn names_follow_the_rules_of_prometheus() {
    let mut seen = BTreeSet::new();
    for metric in all() {
        assert!(seen.insert(metric.name), "{} is there twice", metric.name);
        assert!(metric.name.starts_with("huxiao_"), "{}", metric.name);
        assert!(
            metric.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'),
            "{}",
            metric.name
        );
        assert_eq!(metric.kind == Type::Counter, metric.name.ends_with("_total"), "{}", metric.name);
        if metric.kind == Type::Histogram {
            assert_eq!(metric.unit(), "seconds", "{}: the buckets are for seconds", metric.name);
        }
        assert!(metric.help.ends_with('.'), "{}", metric.name);
        for label in metric.labels {
            assert!(
                !["school", "relay", "device", "id"].contains(label),
                "{}: {label} grows with the schools",
                metric.name
            );
        }
    }
}

#[test]
fn figures_come_out_under_their_names_and_installing_twice_is_one_recorder() {
    let first = install();
    increment(Counter::AlarmsReceived, &["panic", "live"]);
    add(Counter::AlarmsReceived, &["panic", "live"], 2);
    count_to(Counter::Handshakes, &["refused"], 7);
    set(Gauge::StoreBytes, &[], 4_096.0);
    observe(Histogram::AlarmStage, &["metric_test"], 0.003);
    observe(Histogram::AlarmStage, &["metric_test"], 30.0);
    let text = install().render();
    for line in [
        "huxiao_alarms_received_total{kind=\"panic\",mode=\"live\"} 3",
        "huxiao_handshakes_total{outcome=\"refused\"} 7",
        "huxiao_store_bytes 4096",
        "huxiao_store_lost_total 0",
        "huxiao_alarm_stage_duration_seconds_bucket{stage=\"metric_test\",le=\"0.002\"} 0",
        "huxiao_alarm_stage_duration_seconds_bucket{stage=\"metric_test\",le=\"0.005\"} 1",
        "huxiao_alarm_stage_duration_seconds_bucket{stage=\"metric_test\",le=\"+Inf\"} 2",
        "# TYPE huxiao_alarm_stage_duration_seconds histogram",
        "# HELP huxiao_store_bytes Bytes that the store takes on disk.",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
    }
    assert_eq!(first.render().lines().count(), install().render().lines().count());
}

#[test]
fn the_process_measures_itself() {
    let text = install().render();
    let figure = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}\n{text}"));
        line.trim().parse().unwrap()
    };
    assert!(figure("huxiao_process_resident_memory_bytes ") > 1e6);
    assert!(figure("huxiao_process_open_files ") >= 3.0);
    assert!(figure("huxiao_process_threads ") >= 1.0);
}

#[test]
fn the_table_has_a_line_for_each_metric() {
    let table = table_markdown();
    assert!(table.contains(
        "| `huxiao_store_fsync_duration_seconds` | histogram | seconds |  | Time of one sync of the store. |"
    ));
    assert_eq!(table.lines().filter(|line| line.starts_with("| `huxiao_")).count(), all().count());
}

#[test]
fn metrics_page_is_what_the_code_has() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/METRICS.md");
    let page = table_markdown();
    if std::env::var_os("HUXIAO_WRITE_DOCS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), page, "run cargo xtask fix");
}
