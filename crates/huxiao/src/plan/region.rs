//! The plan that a region has, and the way of a change into its record.

use std::time::Duration;

use huxiao_core::plan::{Change, Plan};
use huxiao_core::record::{StageId, StagePlan};
use serde_json::{Value, json};

use crate::cluster::{Api, of_http};
use crate::exit::Failure;
use crate::http::Client;
use crate::random;

/// How long one step of a change may take: a province's plan is looked at as a whole.
const PATIENCE: Duration = Duration::from_secs(60);

/// A region's plan, through one of its nodes.
pub(super) struct Region {
    client: Client,
    /// The plan of its record; empty as long as it has none.
    pub(super) plan: Plan,
    /// The version of that, 0 as long as there is none.
    pub(super) version: u64,
}

impl Region {
    /// Reads the plan of the region's record.
    pub(super) async fn read(api: &Api) -> Result<Self, Failure> {
        let mut client = Client::new(api.endpoint()?).patient(PATIENCE);
        let (mut parts, mut version): (Vec<Change>, Option<u64>) = (Vec::new(), None);
        loop {
            let answer = client.get(&format!("/v1/plan/parts?skip={}", parts.len())).await.map_err(of_http)?;
            let answer = answer.good().map_err(of_http)?;
            let page = huxiao_wire::decode_plan_page(&answer.body)
                .map_err(|why| Failure::failed(format!("the node's plan cannot be read: {why}")))?;
            if version.is_some_and(|before| before != page.version) {
                // Changed in the meantime: from the beginning.
                (parts, version) = (Vec::new(), None);
                continue;
            }
            version = Some(page.version);
            let nothing = page.parts.is_empty();
            parts.extend(page.parts);
            if page.left == 0 {
                break;
            }
            if nothing {
                return Err(Failure::failed("the node says that its plan has more parts, and gives none"));
            }
        }
        let plan = Plan::of_parts(&parts).map_err(|found| {
            let words: Vec<String> = found.iter().take(10).map(ToString::to_string).collect();
            Failure::failed(format!("the node's plan is none: {}", words.join("; ")))
        })?;
        Ok(Self { client, plan, version: version.unwrap_or(0) })
    }

    /// Brings a change into the record and has it taken over. Gives the version that came of it.
    pub(super) async fn change(
        &mut self,
        changes: Vec<Change>,
        digest: &str,
        who: &str,
        note: &str,
    ) -> Result<Value, Failure> {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&random::number().to_be_bytes());
        id[8..].copy_from_slice(&random::number().to_be_bytes());
        let stage = StageId(id);
        let pieces = huxiao_wire::cut_plan_changes(changes);
        let parts = u32::try_from(pieces.len()).map_err(|_| Failure::failed("the change is too large"))?;
        for (part, changes) in (0..).zip(pieces) {
            let part = StagePlan { stage, part, parts, changes: changes.into() };
            let bytes = huxiao_wire::encode_stage_plan(&part);
            self.client.post_bytes("/v1/plan/stage", "application/x-protobuf", bytes).await.map_err(of_http)?;
        }
        let stage: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let order = json!({ "stage": stage, "base": self.version, "digest": digest, "who": who, "note": note });
        let answer = self.client.post("/v1/plan/apply", &[], Some(&order)).await.map_err(of_http)?;
        answer.json().map_err(Failure::failed)
    }
}
