//! The plan file's mistakes here; a whole node beside.

mod flood;
mod plans;

use std::path::Path;

fn read(text: &str) -> Result<huxiao_core::plan::Plan, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("plan.toml");
    std::fs::write(&path, text).unwrap();
    crate::read_plan(&path).map_err(|errors| errors.to_string().replace(&dir.path().display().to_string(), ""))
}

#[test]
fn a_plan_routes_in_order() {
    let plan = read("[[school]]\nid = \"s1\"\nname = \"第一小学\"\nstations = [\"b\", \"a\"]\n").unwrap();
    let stations: Vec<String> = plan.route(&"s1".parse().unwrap()).iter().map(ToString::to_string).collect();
    assert_eq!(stations, ["b", "a"]);
}

#[test]
fn a_provinces_plan_names_who_watches_for_a_region() {
    let plan = read("[[region]]\nname = \"east\"\nstations = [\"p1\"]\n").unwrap();
    let stations = plan.route_from(&"east".parse().unwrap(), &"s1".parse().unwrap());
    assert_eq!(stations.iter().map(ToString::to_string).collect::<Vec<_>>(), ["p1"]);
}

#[test]
fn every_mistake_is_named_with_its_place() {
    let cases = [
        ("[[school]\n", "/plan.toml:1:"),
        ("[[pupil]]\n", "/plan.toml:1:3: unknown key \"pupil\""),
        ("school = 3\n", "/plan.toml:1:10: write each school as a table"),
        ("[[school]]\nid = \"s1\"\n", "/plan.toml:1:1: school s1 has no station"),
        ("[[school]]\nstations = [\"a\"]\n", "/plan.toml:1:1: the school has no id"),
        ("[[school]]\nid = \"s 1\"\nstations = [\"a\"]\n", "/plan.toml:2:6: a name is made of"),
        ("[[school]]\nid = 1\nstations = [\"a\"]\n", "/plan.toml:2:6: a code is a text"),
        ("[[school]]\nid = \"s1\"\nstations = \"a\"\n", "/plan.toml:3:12: stations is an array"),
        ("[[school]]\nid = \"s1\"\nstations = [\"a\", \"a\"]\n", "/plan.toml:1:1: school s1 names station a twice"),
        ("[[school]]\nid = \"s1\"\nstation = [\"a\"]\n", "/plan.toml:3:1: unknown key \"station\""),
        ("region = 3\n", "/plan.toml:1:10: write each region as a table"),
        ("[[region]]\nstations = [\"a\"]\n", "/plan.toml:1:1: the region has no name"),
        ("[[region]]\nname = \"east\"\n", "/plan.toml:1:1: region east has no station"),
        ("[[region]]\nid = \"east\"\nstations = [\"a\"]\n", "/plan.toml:2:1: unknown key \"id\""),
    ];
    for (text, wanted) in cases {
        let errors = read(text).unwrap_err();
        assert!(errors.contains(wanted), "{text:?} gave {errors:?}, wanted {wanted:?}");
    }
    let twice = "[[school]]\nid = \"s1\"\nstations = [\"a\"]\n".repeat(2);
    assert!(read(&twice).unwrap_err().contains("/plan.toml:4:1: school s1 stands in the plan twice"));
}

#[test]
fn all_mistakes_are_named_at_once() {
    let errors = read("[[school]]\nid = \"s 1\"\nstations = 4\n[[school]]\nname = 7\n").unwrap_err();
    assert_eq!(errors.lines().count(), 3, "{errors}");
}

#[test]
fn a_plan_that_is_not_there_is_said() {
    let error = crate::read_plan(Path::new("/nowhere/plan.toml")).unwrap_err().to_string();
    assert!(error.contains("/nowhere/plan.toml: cannot be read"), "{error}");
}
