//! Commands to schools, as the golden files have them.

use std::sync::Arc;

use huxiao_core::command::{
    Content, Instruction, Media, NoticeAction, Priority, Progress, SchoolStage, Sha256Digest, Target,
};
use huxiao_core::relay::CommandRow;
use huxiao_core::signature::{Algorithm, Signature};
use huxiao_core::{
    Command, CommandId, CommandReceipt, CommandRefusal, CommandStage, CommandState, Message, Name, NodeName,
    SchoolCommand, SchoolId, SealedCommand, Span, Standing, Text,
};

use crate::samples::{after, alarm};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn school() -> SchoolId {
    SchoolId(name("450107001"))
}

fn sealed(number: u8, target: Target, instruction: Instruction) -> SealedCommand {
    let NodeName::Station(by) = "station/nanning-7/seat-1".parse().unwrap() else { unreachable!() };
    let command = SchoolCommand {
        id: CommandId::from_bytes([number; 16]),
        target,
        instruction,
        by,
        officer: name("014"),
        reason: Text::new("持刀人员接近校门").unwrap(),
        issued_at: after(5_000),
        ttl: Span::from_secs(120),
        case: Some(alarm().id),
        zones: vec![name("gate"), name("yard")],
        device: Some(name("speaker-1")),
    };
    let bytes = huxiao_wire::seal_command(&command);
    let signature = Signature {
        algorithm: Algorithm::ED25519,
        certificate: Arc::from(&b"a certificate"[..]),
        bytes: Arc::from([7; 64].as_slice()),
    };
    huxiao_wire::unseal_command(&bytes, signature).unwrap()
}

/// One command of each kind.
pub(crate) fn all() -> Vec<SealedCommand> {
    let text = || Text::new("请立即进入教室并锁门").unwrap();
    let to = || Target::School(school());
    let broadcast = |content, volume| Instruction::Broadcast { content, priority: Priority::Live, volume };
    vec![
        sealed(1, to(), broadcast(Content::Text(text()), Some(80))),
        sealed(2, to(), broadcast(Content::Clip(name("evacuate.wav")), None)),
        sealed(3, to(), broadcast(Content::Body(Sha256Digest([9; 32]), Media::Opus), None)),
        sealed(4, to(), Instruction::Stop(None)),
        sealed(5, to(), Instruction::Stop(Some(CommandId::from_bytes([1; 16])))),
        sealed(6, to(), Instruction::View(Some(name("cam-1")))),
        sealed(7, to(), Instruction::Test),
        sealed(8, to(), Instruction::AllClear(text())),
        sealed(9, Target::Area("4501".parse().unwrap()), Instruction::Notice(NoticeAction::Lockdown, text())),
    ]
}

fn receipt(stage: CommandStage) -> CommandReceipt {
    CommandReceipt {
        command: CommandId::from_bytes([1; 16]),
        stage,
        at: after(6_000),
        by: "relay/450107001/gate".parse().unwrap(),
        detail: Text::new("一号音柱").unwrap(),
        took: (stage == CommandStage::Finished).then_some(Span::from_millis(4_200)),
        skew: Some(-1_500),
    }
}

fn state() -> CommandState {
    CommandState {
        sealed: all()[0].clone(),
        receipts: vec![receipt(CommandStage::Accepted), receipt(CommandStage::Finished)],
        progress: None,
        standing: Standing::Settled,
        steps: 3,
    }
}

pub(crate) fn messages() -> Vec<(&'static str, Message)> {
    let progress = Progress { schools: 300, accepted: 250, playing: 3, finished: 200, failed: 7, expired: 40 };
    let notice = CommandState {
        sealed: all()[8].clone(),
        receipts: vec![],
        progress: Some(progress),
        standing: Standing::Provisional,
        steps: 0,
    };
    let id = CommandId::from_bytes([9; 16]);
    let page = [(school(), Some(CommandStage::Playing)), (SchoolId(name("450107002")), None)];
    let page = page.into_iter().map(|(school, stage)| SchoolStage { school, stage }).collect();
    vec![
        ("command_order", Message::CommandOrder(Box::new(all()[0].clone()))),
        ("command_copy", Message::Command(Box::new(all()[8].clone()), Span::from_millis(59_999))),
        ("command_receipts", Message::CommandReceipts(vec![receipt(CommandStage::Failed)])),
        ("command_confirmed", Message::CommandConfirmed(vec![(id, CommandStage::Accepted)])),
        ("command_state", Message::CommandState(Box::new(state()))),
        ("command_state_notice", Message::CommandState(Box::new(notice))),
        ("command_refused", Message::CommandRefused(id, CommandRefusal::NotYours)),
        ("notice_ask", Message::NoticeAsk(id, Some(school()))),
        ("notice_schools", Message::NoticeSchools(id, None, page, 300)),
    ]
}

pub(crate) fn commands() -> Vec<(&'static str, Command)> {
    let by: NodeName = "broker/nanning/n1".parse().unwrap();
    let admit = Command::AdmitCommand { sealed: Box::new(all()[0].clone()), heard: after(5_100), by };
    vec![
        ("command_admit_command", admit),
        ("command_note_command", Command::NoteCommand(vec![receipt(CommandStage::Playing)])),
    ]
}

pub(crate) fn row() -> CommandRow {
    CommandRow {
        slot: 12,
        sealed: all()[1].clone(),
        came_at: after(5_200),
        deadline: after(125_200),
        receipts: vec![receipt(CommandStage::Accepted), receipt(CommandStage::Playing)],
        unconfirmed: [CommandStage::Playing].into(),
    }
}
