//! `huxiao plan diff` and `huxiao plan apply`.

use huxiao_broker::{PlanFiles, counts_json, plan_digest};
use huxiao_core::plan::{Change, Counts, Plan, Subject};
use serde_json::{Value, json};

use super::region::Region;
use super::{ApplyArgs, Source, counted};
use crate::args::Global;
use crate::exit::{Code, Failure, Outcome};
use crate::output::{self, Format};

/// What files would make of a region's plan.
struct Difference {
    region: Region,
    changes: Vec<Change>,
    counts: Counts,
    next: Plan,
}

impl Difference {
    async fn of(source: &Source) -> Result<Self, Failure> {
        let files = PlanFiles::read(&source.paths).map_err(Failure::config)?;
        // Mistakes first: they are nobody's business but the writer's.
        if !source.partial {
            files.plan().map_err(Failure::config)?;
        }
        let region = Region::read(&source.api).await?;
        let base = if source.partial { &region.plan } else { &Plan::default() };
        let (next, _) = files.onto(base).map_err(Failure::config)?;
        let changes = region.plan.difference(&next);
        let counts = match region.plan.changed(&changes) {
            Ok((_, counts)) => counts,
            Err(found) => return Err(Failure::failed(found.first().map(ToString::to_string).unwrap_or_default())),
        };
        Ok(Self { region, changes, counts, next })
    }

    fn json(&self) -> Value {
        let named = |change: &Change| {
            let what = match change {
                Change::Remove(_) => "removed",
                _ if is_there(&self.region.plan, &change.of()) => "changed",
                _ => "added",
            };
            json!({ "what": what, "of": change.of().to_string() })
        };
        json!({
            "base": self.region.version, "digest": self.digest(), "counts": counts_json(&self.counts),
            "changes": self.changes.iter().map(named).collect::<Vec<_>>(),
        })
    }

    fn digest(&self) -> String {
        plan_digest(&self.next).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn table(&self, json: &Value) -> String {
        let mut table = output::table(&[]);
        for change in json["changes"].as_array().into_iter().flatten() {
            let text = |key: &str| change[key].as_str().unwrap_or_default().to_owned();
            table.add_row([text("what"), text("of")]);
        }
        let base = match self.region.version {
            0 => "the region's record has no plan yet: its nodes go by their own files".to_owned(),
            version => format!("against version {version} of the region's plan"),
        };
        format!("{}\n{base}\n{}", output::render(&table), counted(&self.counts))
    }
}

fn is_there(plan: &Plan, of: &Subject) -> bool {
    match of {
        Subject::Area(code) => plan.area(*code).is_some(),
        Subject::Station(id) => plan.station(id).is_some(),
        Subject::School(id) => plan.school(id).is_some(),
        Subject::Region(name) => plan.regions().any(|region| region == name),
    }
}

pub(super) async fn diff(source: &Source) -> Outcome {
    let difference = Difference::of(source).await?;
    show(&difference, source.api.output)
}

fn show(difference: &Difference, format: Format) -> Outcome {
    let json = difference.json();
    match format {
        Format::Json => output::finish_json(Code::Ok, &json),
        Format::Table => output::finish(Code::Ok, &difference.table(&json)),
    }
}

pub(super) async fn run(args: &ApplyArgs, global: &Global) -> Outcome {
    let format = args.source.api.output;
    let mut difference = Difference::of(&args.source).await?;
    if args.dry_run {
        return show(&difference, format);
    }
    global.say(counted(&difference.counts).trim_end());
    if difference.counts.is_nothing() && difference.region.version > 0 {
        global.say("the region has this plan already; nothing is changed");
        let json = json!({ "version": difference.region.version, "changed": false });
        return match format {
            Format::Json => output::finish_json(Code::Ok, &json),
            Format::Table => output::finish(Code::Ok, &output::pairs(&[("version", json["version"].to_string())])),
        };
    }
    if difference.region.version == 0 {
        global.say("the first plan of this region's record: from now on the nodes' own plan files count no more");
    }
    let (digest, changes) = (difference.digest(), std::mem::take(&mut difference.changes));
    let json = difference.region.change(changes, &digest, &args.by, &args.note).await?;
    if format == Format::Json {
        return output::finish_json(Code::Ok, &json);
    }
    let text = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
    output::finish(
        Code::Ok,
        &output::pairs(&[
            ("version", json["version"].to_string()),
            ("digest", text("digest")),
            ("who", text("who")),
            ("at", text("at")),
        ]),
    )
}
