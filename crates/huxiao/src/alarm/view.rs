//! An event as an API showed it, for people.
//!
//! The JSON of the API is passed on whole: what a newer node adds is not lost. Words for people come from core's catalogue, or from
//! the node itself.

use std::collections::BTreeMap;

use huxiao_core::signature::Verdict;
use huxiao_core::{Kind, Mode, Stage, Standing};
use huxiao_runtime::time_format::parse_rfc3339;
use serde_json::Value;

use super::waterfall::Lap;
use crate::case::standing as case_standing;
use crate::output;

/// An event of either API.
#[derive(Debug, Clone)]
pub struct View(Value);

impl View {
    /// The event in an API's answer.
    #[must_use]
    pub fn new(json: Value) -> Self {
        Self(json)
    }

    /// A text member; empty if it is not there.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap_or_default()
    }

    /// A switch; off if it is not there.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.0[name].as_bool().unwrap_or_default()
    }

    /// Whether `stage` is among those that it has reached.
    #[must_use]
    pub fn reached(&self, stage: Stage) -> bool {
        self.0["stages"].get(stage.as_str()).is_some()
    }

    /// The furthest stage that it has reached.
    #[must_use]
    pub fn furthest(&self) -> Option<Stage> {
        Stage::ALL.into_iter().rev().find(|stage| self.reached(*stage))
    }

    /// How many receipts the relay has for it.
    #[must_use]
    pub fn receipts(&self) -> usize {
        self.0["receipts"].as_array().map_or(0, Vec::len)
    }

    /// What its lamp says, Chinese first; nothing while it is dark.
    #[must_use]
    pub fn lamp_words(&self) -> Option<String> {
        let words = &self.0["lamp_text"];
        both(words["zh"].as_str().unwrap_or_default(), words["en"].as_str().unwrap_or_default())
    }

    /// The points of its way that the node tells of.
    #[must_use]
    pub fn laps(&self) -> Vec<Lap> {
        Lap::all(&self.0)
    }

    /// Milliseconds from the press to each stage: on one clock where the node tells so, otherwise as far as the clocks agree.
    #[must_use]
    pub fn stage_ms(&self) -> BTreeMap<&'static str, f64> {
        let laps = self.laps();
        let Ok(raised) = parse_rfc3339(self.text("raised_at")) else { return BTreeMap::new() };
        let since = |stage: Stage| {
            if let Some(lap) = laps.iter().find(|lap| lap.stage() == stage.as_str()) {
                return Some((stage.as_str(), lap.at_ms()));
            }
            let at = parse_rfc3339(self.0["stages"].get(stage.as_str())?.as_str()?).ok()?;
            Some((stage.as_str(), millis(at - raised)))
        };
        Stage::ALL.into_iter().filter_map(since).collect()
    }

    /// The event with `stage_ms` beside what the API said.
    #[must_use]
    pub fn with_stage_ms(&self) -> Value {
        let mut json = self.0.clone();
        if let Some(members) = json.as_object_mut() {
            members.insert("stage_ms".to_owned(), serde_json::json!(self.stage_ms()));
        }
        json
    }

    /// How many presses it stands for.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0["count"].as_u64().unwrap_or(1)
    }

    /// What it is, in words: kind, count, mode.
    #[must_use]
    pub fn title(&self) -> String {
        let kind = self.text("kind");
        let words = Kind::known(kind).and_then(|kind| both(kind.words().0, kind.words().1));
        let mode = [("test", Mode::Test.words().0), ("drill", Mode::Drill.words().0)]
            .into_iter()
            .find(|(name, _)| self.flag(name));
        let mode = mode.map_or_else(String::new, |(name, zh)| format!("  [{zh} {name}]"));
        // A button that sticks.
        let times =
            Some(self.count()).filter(|count| *count > 1).map_or_else(String::new, |count| format!("  ×{count}"));
        format!("{kind}  {}{times}{mode}", words.unwrap_or_default()).trim_end().to_owned()
    }

    /// How far its ownership has gone up because nobody took it, Chinese first, and to whom.
    #[must_use]
    pub fn ownership(&self) -> Option<String> {
        let ownership = &self.0["ownership"];
        let words = &ownership["text"];
        let words = both(words["zh"].as_str().unwrap_or_default(), words["en"].as_str().unwrap_or_default())?;
        let owners: Vec<_> = ownership["owners"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        Some(format!("{words}  {}", owners.join(", ")))
    }

    /// What the seat found of its signature, Chinese first; nothing for what nobody signs.
    #[must_use]
    pub fn signature(&self) -> Option<String> {
        let words = &self.0["signature_text"];
        both(words["zh"].as_str().unwrap_or_default(), words["en"].as_str().unwrap_or_default())
    }

    /// One line for a list that people read.
    #[must_use]
    pub fn line(&self) -> String {
        let place: Vec<_> = ["school", "zone", "device"].map(|name| self.text(name)).into_iter().collect();
        let place: Vec<_> = place.into_iter().filter(|text| !text.is_empty()).collect();
        let seq = self.0["seq"].as_u64().map_or_else(String::new, |seq| seq.to_string());
        let (at, class, place) = (self.text("raised_at"), self.text("class"), place.join("/"));
        let doubt = if self.text("signature") == Verdict::Invalid.as_str() { self.signature() } else { None };
        let doubt = doubt.map_or_else(String::new, |words| format!("  [{words}]"));
        format!("{seq:>6}  {at}  {class}  {place}  {}  {}{doubt}", self.title(), self.text("id"))
    }

    /// All of it, for people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut rows = vec![("event", self.text("id").to_owned()), ("kind", self.title())];
        let named = ["class", "school", "relay", "device", "zone", "note", "raised_at", "received_at"];
        rows.extend(named.map(|name| (name, self.text(name).to_owned())));
        rows.extend(self.lamp_words().map(|words| ("lamp", words)));
        rows.extend(self.owner().map(|owner| ("acknowledged_by", owner)));
        rows.extend(self.signature().map(|words| ("signature", words)));
        rows.extend(self.ownership().map(|words| ("overdue", words)));
        rows.extend(self.0["assisting"].as_array().into_iter().flatten().map(|by| ("assisting", officer(by))));
        if self.0["case"]["steps"].as_u64().is_some_and(|steps| steps > 0) {
            rows.push(("case", case_standing(&self.0["case"])));
        }
        if self.count() > 1 {
            rows.push(("count", format!("{}  按键连续触发  presses of a button that sticks", self.count())));
        }
        if self.flag("refused") {
            rows.push(("refused", "a broker node refused it; the relay's log says why".to_owned()));
        }
        rows.retain(|(_, value)| !value.is_empty());
        let mut stages = output::table(&["stage", "at", "ms since raised"]);
        let since = self.stage_ms();
        for stage in Stage::ALL.into_iter().filter(|stage| self.reached(*stage)) {
            let name = stage.as_str();
            let at = self.0["stages"][name].as_str().unwrap_or_default().to_owned();
            stages.add_row([name.to_owned(), at, since.get(name).map_or_else(String::new, |ms| format!("{ms:.1}"))]);
        }
        format!("{}\n{}", output::pairs(&rows), output::render(&stages))
    }

    fn owner(&self) -> Option<String> {
        let by = self.0.get("acknowledged_by").filter(|by| by.is_object())?;
        Some(officer(by))
    }
}

/// An officer's answer in words: who, where, when, and the note.
#[must_use]
pub fn officer(by: &Value) -> String {
    let text = |name: &str| by[name].as_str().unwrap_or_default();
    let note = if text("note").is_empty() { String::new() } else { format!(": {}", text("note")) };
    format!("officer {} ({}, {}){}{note}", text("officer"), text("by"), text("at"), standing(by))
}

/// What the region's record says to an officer's answer, in brackets; nothing where it is settled, or nobody says.
fn standing(by: &Value) -> String {
    let standing = Standing::ALL.into_iter().find(|standing| Some(standing.as_str()) == by["standing"].as_str());
    let (zh, en) = standing.filter(|standing| *standing != Standing::Settled).map_or(("", ""), Standing::words);
    if en.is_empty() { String::new() } else { format!("  [{zh} {en}]") }
}

/// That the region takes nothing into its record, in words: Chinese first, since when, and why.
#[must_use]
pub fn degraded(json: &Value) -> Option<String> {
    let text = |name: &str| json[name].as_str().unwrap_or_default();
    let words = both(json["text"]["zh"].as_str().unwrap_or_default(), json["text"]["en"].as_str().unwrap_or_default());
    json.is_object().then(|| format!("{} (since {}: {})", words.unwrap_or_default(), text("since"), text("why")))
}

fn both(zh: &str, en: &str) -> Option<String> {
    let words = format!("{zh}  {en}");
    (!words.trim().is_empty()).then(|| words.trim().to_owned())
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a human span are exact in an f64")]
fn millis(micros: i64) -> f64 {
    micros as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> View {
        View::new(serde_json::json!({
            "id": "0193", "school": "school-001", "relay": "gate", "zone": null, "kind": "panic", "class": "P0",
            "raised_at": "2026-03-01T08:30:00.000000Z", "test": false, "drill": true, "lamp": "on_screen",
            "lamp_text": {"zh": "派出所已收到", "en": "On a police screen"}, "new_member": 7,
            "stages": {"kept": "2026-03-01T08:30:00.001500Z", "displayed": "2026-03-01T08:29:59.999000Z"},
            "acknowledged_by": {"by": "station/s/desk-1", "officer": "014", "note": "已出警", "at": "2026"},
            "case": {"state": "onscene", "steps": 4, "level": 1, "owner": {"by": "station/s/desk-1", "officer": "014"}},
            "assisting": [{"by": "station/t/desk-1", "officer": "021", "at": "2026", "standing": "assisting"}],
        }))
    }

    #[test]
    fn stages_are_told_in_milliseconds_even_if_clocks_disagree() {
        let event = event();
        assert_eq!(event.stage_ms(), BTreeMap::from([("kept", 1.5), ("displayed", -1.0)]));
        assert_eq!(event.furthest(), Some(Stage::Displayed));
        assert!(event.reached(Stage::Kept) && !event.reached(Stage::Stored));
        let json = event.with_stage_ms();
        assert_eq!((&json["stage_ms"]["kept"], &json["new_member"]), (&serde_json::json!(1.5), &serde_json::json!(7)));
    }

    #[test]
    fn people_read_chinese_first() {
        let table = event().table();
        for words in [
            "一键报警  One-key alarm",
            "[演练 drill]",
            "派出所已收到  On a police screen",
            "officer 014",
            "1.5",
            "officer 021",
            "[协助 assisting]",
            "已到场  on scene: officer 014",
        ] {
            assert!(table.contains(words), "{words} in\n{table}");
        }
        assert!(!table.contains("zone"), "what is not there is not shown:\n{table}");
        assert!(event().line().contains("school-001  panic  一键报警"));
    }

    #[test]
    fn an_answer_of_another_shape_is_shown_as_far_as_it_goes() {
        for json in [Value::Null, serde_json::json!([1]), serde_json::json!({"stages": 3, "raised_at": 5})] {
            let view = View::new(json);
            assert!(view.table().contains("stage") && view.stage_ms().is_empty() && view.furthest().is_none());
        }
    }
}
