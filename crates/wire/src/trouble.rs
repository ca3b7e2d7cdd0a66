//! Troubles from and to their Protocol Buffers form.

use huxiao_core::record::{Admission, Command};
use huxiao_core::{About, NodeName, Trouble, WallTime};

use crate::error::WireError;
use crate::field;
use crate::proto;
use crate::row;

fn raw_about(about: &About) -> proto::TroubleAbout {
    let (what, first, second) = about.parts();
    proto::TroubleAbout { what: what.to_owned(), first, second }
}

/// What a trouble is about. One that this version does not know is refused: without it the state would be another.
fn about(field: &'static str, raw: Option<&proto::TroubleAbout>) -> Result<About, WireError> {
    let raw = raw.ok_or(WireError::Missing(field))?;
    About::from_parts(&raw.what, &raw.first, &raw.second).map_err(|why| field::bad(field, why))
}

pub(crate) fn raw_began(about: &About, admission: &Admission) -> proto::TroubleBegan {
    proto::TroubleBegan { about: Some(raw_about(about)), admit: Some(row::raw_admission(admission)) }
}

/// The body of [`Command::TroubleBegan`].
pub(crate) fn began(raw: &proto::TroubleBegan) -> Result<Command, WireError> {
    let admit = raw.admit.as_ref().ok_or(WireError::Missing("trouble_began.admit"))?;
    let about = about("trouble_began.about", raw.about.as_ref())?;
    Ok(Command::TroubleBegan { about, admission: Box::new(row::admission(admit)?) })
}

pub(crate) fn raw_over(
    about: &About,
    admission: Option<&Admission>,
    (by, at): (&NodeName, WallTime),
) -> proto::TroubleOver {
    proto::TroubleOver {
        about: Some(raw_about(about)),
        admit: admission.map(row::raw_admission),
        by: by.to_string(),
        at_us: at.0,
    }
}

/// The body of [`Command::TroubleOver`].
pub(crate) fn over(raw: &proto::TroubleOver) -> Result<Command, WireError> {
    Ok(Command::TroubleOver {
        about: about("trouble_over.about", raw.about.as_ref())?,
        admission: raw.admit.as_ref().map(row::admission).transpose()?.map(Box::new),
        by: field::node("trouble_over.by", &raw.by)?,
        at: WallTime(raw.at_us),
    })
}

pub(crate) fn raw_trouble(trouble: &Trouble) -> proto::TroubleRow {
    proto::TroubleRow { about: Some(raw_about(&trouble.about)), over_us: trouble.over.map(|at| at.0) }
}

pub(crate) fn trouble(raw: &proto::TroubleRow) -> Result<Trouble, WireError> {
    Ok(Trouble { about: about("entry.trouble.about", raw.about.as_ref())?, over: raw.over_us.map(WallTime) })
}
