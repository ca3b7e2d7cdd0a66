//! Why a region does not take a command.

use crate::case::named;

named! {
    /// Why a region does not take a command.
    CommandRefusal: "a reason to refuse a command" {
        /// The plan does not name the seat's station for that school, and it has no open case of it.
        NotYours "not_yours" "本单位不负责该校" "this station does not answer for that school and has no open alarm of it",
        /// The plan names no such school, or no school of that area that is the station's.
        NoSchool "no_school" "预案中没有该校或该区域" "the plan names no such school, or none in that area for which this station answers",
        /// The record has no plan with areas yet: notices are for areas.
        NoPlan "no_plan" "尚未下发区域预案" "the region has no plan in force that was applied: a notice needs its areas; apply one with huxiao plan apply",
        /// The signature is not the seat's.
        BadSignature "bad_signature" "签名无效" "the signature is not that of a signing certificate of this seat",
        /// Too many commands are open.
        NoRoom "no_room" "未完成的指令过多" "too many commands of that school, or of the region, are open; stop or await some",
        /// The region has no quorum, and what was asked for needs its record.
        NoQuorum "no_quorum" "区域降级，暂不能受理" "the region has no quorum: nothing enters its record",
        /// Something that this version has no name for.
        Other "other" "已拒绝" "refused for a reason that this version does not know",
    }
}

impl CommandRefusal {
    /// Whether another node may say otherwise.
    #[must_use]
    pub fn is_soft(self) -> bool {
        matches!(
            self,
            CommandRefusal::NotYours | CommandRefusal::NoSchool | CommandRefusal::NoPlan | CommandRefusal::NoQuorum
        )
    }
}
