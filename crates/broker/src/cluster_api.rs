//! `/v1/cluster`: how the region is, and orders to change it.
//!
//! An order may be given to any node: it is carried out by the leader.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use huxiao_core::Name;
use huxiao_runtime::http::{ApiError, Json};
use huxiao_wire::cluster::{Change, Member};
use serde::{Deserialize, Serialize};

use crate::peers_config::peer;
use crate::record::{OrderError, Region, RegionStatus};

/// The region's routes.
pub(crate) fn router(region: Region) -> Router {
    Router::new()
        .route("/v1/cluster", get(status))
        .route("/v1/cluster/init", post(init))
        .route("/v1/cluster/add", post(add))
        .route("/v1/cluster/remove", post(remove))
        .route("/v1/cluster/replace", post(replace))
        .route("/v1/cluster/transfer-leader", post(transfer_leader))
        .route("/v1/cluster/backup", post(backup))
        .with_state(region)
}

/// How long a backup may take.
const BACKUP_WITHIN: Duration = Duration::from_secs(120);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Added {
    /// `NAME@HOST:PORT`.
    node: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Replaced {
    name: String,
    /// Where it is now; where it was if there is none.
    #[serde(default)]
    addr: Option<String>,
}

#[derive(Debug, Serialize)]
struct Done {
    /// What came of it, in words.
    done: String,
    /// The region after it.
    cluster: RegionStatus,
}

#[derive(Debug, Serialize)]
struct BackupJson {
    file: String,
    bytes: u64,
    sha256: String,
    index: u64,
    record: Option<String>,
}

async fn status(State(region): State<Region>) -> Json<RegionStatus> {
    Json(region.status())
}

async fn init(State(region): State<Region>) -> Result<Json<Done>, ApiError> {
    order(&region, Change::Init).await
}

async fn add(State(region): State<Region>, Json(added): Json<Added>) -> Result<Json<Done>, ApiError> {
    let (name, addr) = peer(&added.node).map_err(|why| ApiError::invalid("bad_node", why))?;
    order(&region, Change::Add(Member { name, addr })).await
}

async fn remove(State(region): State<Region>, Json(named): Json<Named>) -> Result<Json<Done>, ApiError> {
    order(&region, Change::Remove(name(&named.name)?)).await
}

async fn replace(State(region): State<Region>, Json(replaced): Json<Replaced>) -> Result<Json<Done>, ApiError> {
    let name = name(&replaced.name)?;
    let addr = match replaced.addr {
        Some(addr) => peer(&format!("{name}@{addr}")).map_err(|why| ApiError::invalid("bad_node", why))?.1,
        None => region.address_of(&name).ok_or_else(|| {
            ApiError::not_found(
                "unknown_node",
                format!("{name} is no member of the region, so its address must be given"),
            )
        })?,
    };
    order(&region, Change::Replace(Member { name, addr })).await
}

async fn transfer_leader(State(region): State<Region>, Json(named): Json<Named>) -> Result<Json<Done>, ApiError> {
    order(&region, Change::TransferLeader(name(&named.name)?)).await
}

async fn backup(State(region): State<Region>) -> Result<Json<BackupJson>, ApiError> {
    let made = tokio::time::timeout(BACKUP_WITHIN, region.backup()).await.map_err(|_| {
        ApiError::unavailable("no_backup", format!("the backup took longer than {} s", BACKUP_WITHIN.as_secs()))
    })?;
    let backup = made.map_err(|why| ApiError::unavailable("no_backup", why.to_string()))?;
    Ok(Json(BackupJson {
        file: backup.file.display().to_string(),
        bytes: backup.bytes,
        sha256: backup.sha256.iter().map(|byte| format!("{byte:02x}")).collect(),
        index: backup.index,
        record: backup.record,
    }))
}

fn name(text: &str) -> Result<Name, ApiError> {
    text.parse().map_err(|why: huxiao_core::NameError| ApiError::invalid("bad_name", why.to_string()))
}

async fn order(region: &Region, change: Change) -> Result<Json<Done>, ApiError> {
    // Begun is finished, even if whoever asked goes away.
    let ordered = tokio::spawn({
        let region = region.clone();
        async move { region.order(change).await }
    });
    match ordered.await {
        Ok(Ok(done)) => {
            tracing::info!(done, "the region changed by order");
            Ok(Json(Done { done, cluster: region.status() }))
        }
        Ok(Err(OrderError::NotNow(why))) => Err(ApiError::unavailable("not_now", why)),
        Ok(Err(OrderError::Wrong(why))) => Err(ApiError::conflict("cannot", why)),
        Ok(Err(OrderError::Unknown(why))) => Err(ApiError::new(StatusCode::GATEWAY_TIMEOUT, "unknown_outcome", why)),
        Err(error) => Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "defect", error.to_string())),
    }
}
