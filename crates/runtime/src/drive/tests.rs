use std::sync::{Arc, Mutex};

use huxiao_core::{
    Class, Event, EventCopy, EventId, Kind, Message, Mode, Name, PathId, RelayId, Rng, SchoolId, Sealed, Span, Text,
    Trail, WallTime,
};
use huxiao_link::LinkEvent;

use super::*;

/// Notes what it is told; asks to be woken when told so.
#[derive(Debug, Default)]
struct Toy {
    seen: Vec<String>,
    due: Option<Timestamp>,
    outputs: std::collections::VecDeque<String>,
    broken: bool,
}

#[derive(Debug)]
enum Say {
    Word(String),
    WakeIn(Span),
    Break,
}

fn word(text: &str) -> Say {
    Say::Word(text.into())
}

impl Machine for Toy {
    type Input = Say;
    type Output = String;

    fn handle(&mut self, now: Now, input: Say) {
        match input {
            Say::Word(text) => {
                self.outputs.push_back(format!("first {text}"));
                self.outputs.push_back(format!("then {text}"));
                self.seen.push(text);
            }
            Say::WakeIn(span) => self.due = Some(now.mono + span),
            Say::Break => self.broken = true,
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        if self.due.is_some_and(|due| due <= now.mono) {
            self.due = None;
            self.seen.push(format!("woken at {}", now.mono.0 / 1_000));
        }
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        self.due
    }

    fn poll_output(&mut self) -> Option<String> {
        self.outputs.pop_front()
    }

    fn check(&self) -> Result<(), String> {
        if self.broken { Err("the toy is broken".into()) } else { Ok(()) }
    }
}

#[derive(Default, Clone)]
struct Notebook {
    lines: Arc<Mutex<Vec<String>>>,
    rests: Arc<Mutex<u32>>,
}

impl Shell<Toy> for Notebook {
    fn carry_out(&mut self, output: String) {
        self.lines.lock().unwrap().push(output);
    }
    fn after_step(&mut self, machine: &Toy) {
        assert!(machine.outputs.is_empty(), "the machine must be at rest");
        *self.rests.lock().unwrap() += 1;
    }
}

#[tokio::test(start_paused = true)]
async fn outputs_are_carried_out_in_order_and_drained_before_the_next_input() {
    let (handle, inbox) = channel::<Toy>();
    let shell = Notebook::default();
    let lines = shell.lines.clone();
    let rests = shell.rests.clone();
    handle.input(word("a")).await.unwrap();
    handle.input(word("b")).await.unwrap();
    drop(handle);
    let toy = drive(Toy::default(), shell, inbox, Clock::system(), Shutdown::new()).await;
    assert_eq!(toy.seen, ["a", "b"]);
    assert_eq!(*lines.lock().unwrap(), ["first a", "then a", "first b", "then b"]);
    assert_eq!(*rests.lock().unwrap(), 3, "once at the start and after each input");
}

#[tokio::test(start_paused = true)]
async fn urgent_goes_first_but_does_not_starve_the_others() {
    let (handle, inbox) = channel::<Toy>();
    for n in 0..3 {
        handle.input(word(&format!("n{n}"))).await.unwrap();
    }
    for n in 0..600 {
        handle.urgent(word(&format!("u{n}"))).unwrap();
    }
    drop(handle);
    let toy = drive(Toy::default(), Notebook::default(), inbox, Clock::system(), Shutdown::new()).await;
    let place = |text: &str| toy.seen.iter().position(|seen| seen == text).unwrap();
    assert_eq!(toy.seen.len(), 603, "nothing is lost");
    assert_eq!((place("u0"), place("n0"), place("n1"), place("n2")), (0, 256, 513, 602));
}

#[tokio::test(start_paused = true)]
async fn a_due_timer_goes_before_a_flood_of_urgent_inputs() {
    let (handle, inbox) = channel::<Toy>();
    handle.urgent(Say::WakeIn(Span::ZERO)).unwrap();
    for n in 0..1_000 {
        handle.urgent(word(&n.to_string())).unwrap();
    }
    drop(handle);
    let toy = drive(Toy::default(), Notebook::default(), inbox, Clock::system(), Shutdown::new()).await;
    assert_eq!(toy.seen[0], "woken at 0");
}

#[tokio::test(start_paused = true)]
async fn timers_fire_on_time_and_can_be_moved_both_ways() {
    let (handle, inbox) = channel::<Toy>();
    let shutdown = Shutdown::new();
    let driven = tokio::spawn(drive(Toy::default(), Notebook::default(), inbox, Clock::system(), shutdown.clone()));
    handle.input(Say::WakeIn(Span::from_secs(60))).await.unwrap();
    tokio::time::sleep(Span::from_millis(10)).await;
    handle.input(Say::WakeIn(Span::from_millis(90))).await.unwrap();
    tokio::time::sleep(Span::from_secs(1)).await;
    handle.input(Say::WakeIn(Span::from_secs(5))).await.unwrap();
    tokio::time::sleep(Span::from_secs(10)).await;
    let seen = handle.inspect(|toy| toy.seen.clone()).await.unwrap();
    // The first was at 10 ms + 90 ms, tokio's timer rounds up to whole milliseconds.
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(["woken at 100", "woken at 101"].contains(&seen[0].as_str()), "{seen:?}");
    drop(handle);
    driven.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_holds_its_producer_back_and_inspect_still_gets_through() {
    let (handle, inbox) = channel::<Toy>();
    for _ in 0..limits::INPUT_QUEUE {
        handle.input(word("x")).await.unwrap();
    }
    let waiting = tokio::time::timeout(Span::from_secs(1), handle.input(word("one too many"))).await;
    assert!(waiting.is_err(), "the queue has a bound");
    let asking = tokio::spawn({
        let handle = handle.clone();
        async move { handle.inspect(|toy: &Toy| toy.seen.len()).await }
    });
    tokio::task::yield_now().await;
    drop(handle);
    let toy = drive(Toy::default(), Notebook::default(), inbox, Clock::system(), Shutdown::new()).await;
    assert_eq!(asking.await.unwrap(), Ok(0), "read before the thousands of inputs");
    assert_eq!(toy.seen.len(), limits::INPUT_QUEUE);
}

#[tokio::test(start_paused = true)]
async fn shutdown_refuses_new_inputs_keeps_what_it_took_and_goes_on_with_urgent_ones() {
    let (handle, inbox) = channel::<Toy>();
    let shutdown = Shutdown::new();
    handle.input(word("taken before")).await.unwrap();
    shutdown.request(Span::from_secs(30));
    let driven = tokio::spawn(drive(Toy::default(), Notebook::default(), inbox, Clock::system(), shutdown.clone()));
    tokio::time::sleep(Span::from_millis(1)).await;
    assert_eq!(handle.input(word("too late")).await, Err(Stopped));
    tokio::time::sleep(Span::from_secs(1)).await;
    handle.urgent(word("written")).unwrap();
    drop(handle);
    let toy = driven.await.unwrap();
    assert_eq!(toy.seen, ["taken before", "written"]);
    assert!(!shutdown.is_over(), "it ended because everybody had let go");
}

#[tokio::test(start_paused = true)]
async fn a_handle_that_is_kept_does_not_outlast_the_deadline() {
    let (handle, inbox) = channel::<Toy>();
    let shutdown = Shutdown::new();
    shutdown.request(Span::from_secs(7));
    let begun = tokio::time::Instant::now();
    drive(Toy::default(), Notebook::default(), inbox, Clock::system(), shutdown).await;
    assert_eq!(begun.elapsed(), Span::from_secs(7));
    assert_eq!(handle.urgent(word("x")), Err(Stopped));
    assert_eq!(handle.inspect(|_| ()).await, Err(Stopped));
}

#[tokio::test(start_paused = true)]
async fn a_broken_invariant_is_counted_and_the_node_goes_on() {
    let metrics = metric::install();
    let (handle, inbox) = channel::<Toy>();
    handle.input(Say::Break).await.unwrap();
    handle.input(word("still served")).await.unwrap();
    drop(handle);
    let toy = drive(Toy::default(), Notebook::default(), inbox, Clock::system(), Shutdown::new()).await;
    assert_eq!(toy.seen, ["still served"]);
    assert!(metrics.render().contains("huxiao_machine_violations_total 2"), "{}", metrics.render());
}

/// A message of `class`, number `number`, on a path of its own.
fn copy(class: Class, number: u64) -> LinkEvent {
    let kind = if class == Class::P0 { Kind::Panic } else { Kind::Status };
    let event = Event {
        id: EventId::generate(WallTime(1), &mut Rng::new(number)),
        relay: RelayId { school: SchoolId(Name::new("s1").unwrap()), device: Name::new("gate").unwrap() },
        epoch: 1,
        seq: number,
        kind,
        class,
        mode: Mode::Live,
        device: None,
        zone: None,
        note: Text::default(),
        raised_at: WallTime(1),
        count: 1,
        details: huxiao_core::Details::default(),
    };
    let sealed = Sealed { event: Arc::new(event), bytes: Arc::from(Vec::new()), signature: None };
    let message = Message::Event(EventCopy { sealed, trail: Trail::default(), receipts: Vec::new() });
    LinkEvent::Message { path: PathId(number), message }
}

/// `P0 7` for the alarm with number 7.
fn said(event: LinkEvent) -> Option<Say> {
    let LinkEvent::Message { path, message: Message::Event(copy) } = event else { return None };
    Some(word(&format!("{} {}", copy.sealed.event.class, path.0)))
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_a_lower_class_and_its_completed_writes_hold_an_alarm_up_by_one_step() {
    let (handle, inbox) = channel::<Toy>();
    let (events, received) = huxiao_link::events();
    let inbox = inbox.fed_by(Feed::new(received, said));
    for number in 0..200 {
        events.send(copy(Class::P3, number)).await;
        handle.input(word("press")).await.unwrap();
        handle.urgent(word("written")).unwrap();
    }
    for number in [900, 901, 902] {
        events.send(copy(Class::P0, number)).await;
    }
    let driven = tokio::spawn(drive(Toy::default(), Notebook::default(), inbox, Clock::system(), Shutdown::new()));
    tokio::time::sleep(Span::from_millis(1)).await;
    drop(handle);
    let toy = driven.await.unwrap();
    let place = |text: &str| toy.seen.iter().position(|seen| seen == text).unwrap();
    assert_eq!([place("P0 900"), place("P0 901"), place("P0 902")], [0, 2, 4]);
    assert_eq!(toy.seen.len(), 603, "and nothing else is lost");
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_alarms_does_not_keep_writes_from_being_confirmed() {
    let (handle, inbox) = channel::<Toy>();
    let (events, received) = huxiao_link::events();
    let inbox = inbox.fed_by(Feed::new(received, said));
    for number in 0..500 {
        events.send(copy(Class::P0, number)).await;
    }
    handle.urgent(word("written")).unwrap();
    handle.input(word("press")).await.unwrap();
    let driven = tokio::spawn(drive(Toy::default(), Notebook::default(), inbox, Clock::system(), Shutdown::new()));
    tokio::time::sleep(Span::from_millis(1)).await;
    drop(handle);
    let toy = driven.await.unwrap();
    let place = |text: &str| toy.seen.iter().position(|seen| seen == text).unwrap();
    assert_eq!(place("written"), 1);
    assert!(place("press") < 100, "{}", place("press"));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_drains_still_hears_what_its_peers_answer() {
    let (handle, inbox) = channel::<Toy>();
    let (events, received) = huxiao_link::events();
    let shutdown = Shutdown::new();
    let inbox = inbox.fed_by(Feed::new(received, said));
    let driven = tokio::spawn(drive(Toy::default(), Notebook::default(), inbox, Clock::system(), shutdown.clone()));
    shutdown.request(Span::from_secs(30));
    tokio::time::sleep(Span::from_millis(1)).await;
    events.send(copy(Class::P0, 1)).await;
    tokio::time::sleep(Span::from_millis(1)).await;
    drop(handle);
    assert_eq!(driven.await.unwrap().seen, ["P0 1"]);
}

/// The cost of the loop itself, on real time: fails only if it is slower by orders of magnitude than it was when this was written.
#[tokio::test]
async fn the_loop_is_not_the_bottleneck() {
    let (handle, inbox) = channel::<Toy>();
    let driven = tokio::spawn(drive(Toy::default(), Notebook::default(), inbox, Clock::system(), Shutdown::new()));
    let begun = std::time::Instant::now();
    for _ in 0..20_000 {
        handle.input(word("x")).await.unwrap();
    }
    drop(handle);
    let toy = driven.await.unwrap();
    let each = begun.elapsed() / 20_000;
    println!("one input through the loop: {each:?}");
    assert_eq!(toy.seen.len(), 20_000);
    assert!(each < Span::from_micros(500), "{each:?}");
}
