//! What a plan says of person warnings.

use huxiao_core::limits;
use huxiao_core::plan::{Day, Mute, PersonRules, Threshold};

use crate::error::WireError;
use crate::field;
use crate::plan::part::{label, short};
use crate::proto;

pub(super) fn raw_threshold(threshold: &Threshold) -> proto::PlanThreshold {
    proto::PlanThreshold { list: threshold.list.to_string(), permille: threshold.permille.into() }
}

pub(super) fn raw_mute(mute: &Mute) -> proto::PlanMute {
    proto::PlanMute { person: mute.person.to_string(), until: mute.until.map(Day::number) }
}

pub(super) fn rules(raw: &proto::PlanSchool) -> Result<PersonRules, WireError> {
    field::at_most("plan.school.thresholds", raw.thresholds.len(), limits::PLAN_PERSON_LISTS)?;
    field::at_most("plan.school.mutes", raw.mutes.len(), limits::PLAN_PERSON_MUTES)?;
    let threshold = |raw: &proto::PlanThreshold| {
        let list = field::name("plan.threshold.list", &raw.list)?;
        Ok(Threshold { list, permille: short("plan.threshold.permille", raw.permille)? })
    };
    let mute = |raw: &proto::PlanMute| {
        let until = raw.until.map(Day::from_number).transpose();
        let until = until.map_err(|why| field::bad("plan.mute.until", why))?;
        Ok(Mute { person: label("plan.mute.person", &raw.person)?, until })
    };
    Ok(PersonRules {
        thresholds: raw.thresholds.iter().map(threshold).collect::<Result<_, WireError>>()?,
        mutes: raw.mutes.iter().map(mute).collect::<Result<_, WireError>>()?,
    })
}
