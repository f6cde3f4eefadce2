//! Tests of what a process knows of refreshed sessions: one flight, the newest text, grace, pauses, bounds.

use std::sync::Arc;
use std::time::Duration;

use super::super::model::{Granted, Session};
use super::super::tests::sample;
use super::super::ticket::Ticket;
use super::flight::Turn;
use super::home::Home;
use super::refreshes::{Boarding, Forced, Look, NOT_IN_THE_BROWSER, Refreshes, Standing, Taken};
use super::schedule::Schedule;
use crate::base::clock::Timestamp;

const START: u64 = 1_000_000;
const LIFE: u64 = 100;
const GRACE: u64 = 60;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(START + seconds)
}

/// The text of this version of one session, whose tokens were obtained so many seconds after the start.
fn text(version: u32, obtained: u64) -> Arc<Session> {
    let mut session = Session { version, obtained: at(obtained), ..sample() };
    session.tokens.access_expires = Some(at(obtained + LIFE));
    Arc::new(session)
}

fn refreshes() -> Arc<Refreshes> {
    let schedule = Schedule::new(Some(Duration::from_secs(20)), Duration::from_secs(1), 7);
    Refreshes::new(schedule, Duration::from_secs(GRACE), Duration::from_hours(24))
}

fn look(refreshes: &Arc<Refreshes>, session: &Arc<Session>, seconds: u64) -> Option<Standing> {
    match refreshes.look(session, session.version, at(seconds)) {
        Look::Over => None,
        Look::Use(standing) => Some(standing),
    }
}

fn board(refreshes: &Arc<Refreshes>, session: &Arc<Session>, seconds: u64) -> Turn {
    match look(refreshes, session, seconds).unwrap().boarding {
        Some(Boarding::Yours(turn, _)) => turn,
        other => panic!("no turn but {other:?}"),
    }
}

fn newer(refreshes: &Arc<Refreshes>, session: &Arc<Session>, seconds: u64) -> Option<u32> {
    look(refreshes, session, seconds).map(|standing| standing.newer.as_ref().map_or(session.version, |it| it.version))
}

#[test]
fn a_session_is_left_alone_until_it_is_due_and_then_one_caller_makes_the_refresh() {
    let (refreshes, first) = (refreshes(), text(0, 0));
    let standing = look(&refreshes, &first, 79).unwrap();
    assert!(standing.boarding.is_none() && standing.newer.is_none());
    assert_eq!(standing.look_again, at(80));
    let turn = board(&refreshes, &first, 80);
    for seconds in [80, 85, 120] {
        let standing = look(&refreshes, &first, seconds).unwrap();
        assert!(matches!(standing.boarding, Some(Boarding::UnderWay(ref flight)) if flight.is_first()));
    }
    assert!(refreshes.is_under_way(&first.id));
    let other = Arc::new(Session { id: [8; 16], ..(*first).clone() });
    assert!(matches!(look(&refreshes, &other, 90).unwrap().boarding, Some(Boarding::Yours(..))));
    turn.landed(text(1, 80), Home::Browser);
    assert!(!refreshes.is_under_way(&first.id));
    assert_eq!(newer(&refreshes, &first, 81), Some(1));
}

#[tokio::test]
async fn those_who_wait_hear_of_the_end_after_what_came_of_it_is_known() {
    let (refreshes, first) = (refreshes(), text(0, 0));
    let turn = board(&refreshes, &first, 100);
    let Some(Boarding::UnderWay(flight)) = look(&refreshes, &first, 100).unwrap().boarding else {
        panic!("not under way")
    };
    assert!(!flight.clone().landed(Duration::from_millis(20)).await, "it has not ended yet");
    let waiting = tokio::spawn(flight.landed(Duration::from_secs(10)));
    tokio::task::yield_now().await;
    turn.landed(text(1, 100), Home::Browser);
    assert!(waiting.await.unwrap());
    assert_eq!(newer(&refreshes, &first, 100), Some(1));
}

#[test]
fn an_older_text_is_served_until_the_browser_has_shown_the_newest_and_the_grace_is_over() {
    let (refreshes, first, second) = (refreshes(), text(0, 0), text(1, 80));
    board(&refreshes, &first, 80).landed(Arc::clone(&second), Home::Browser);
    // The browser may never have got the answer: hours later the old text still leads to the newest.
    assert_eq!(newer(&refreshes, &first, 170), Some(1));
    assert_eq!(newer(&refreshes, &second, 100), Some(1));
    assert_eq!(newer(&refreshes, &first, 100 + GRACE - 1), Some(1));
    assert_eq!(newer(&refreshes, &first, 100 + GRACE), None);
    assert!(refreshes.newest(&first, 0, at(100 + GRACE)).is_none());
    // The newest goes on, and so does what comes after it once it was let go of.
    assert!(look(&refreshes, &second, 100 + GRACE).is_some());
    let other = Arc::new(Session { id: [8; 16], ..(*text(1, 100)).clone() });
    look(&refreshes, &other, 100 + GRACE);
    assert_eq!(newer(&refreshes, &first, 100 + GRACE), None, "that it is superseded stays known");
    assert_eq!(newer(&refreshes, &second, 170), Some(1));
}

#[test]
fn an_older_text_leads_to_the_newest_over_several_refreshes() {
    let (refreshes, first) = (refreshes(), text(0, 0));
    board(&refreshes, &first, 80).landed(text(1, 80), Home::Browser);
    let Look::Use(standing) = refreshes.look(&text(1, 80), 0, at(160)) else { panic!("over") };
    let Some(Boarding::Yours(turn, _)) = standing.boarding else {
        panic!("the newest is due, whoever brings the old one")
    };
    assert_eq!(turn.session().version, 1, "the newest refresh token is used");
    turn.landed(text(2, 160), Home::Browser);
    assert_eq!(newer(&refreshes, &first, 161), Some(2));
    assert_eq!(newer(&refreshes, &text(1, 80), 161), Some(2));
}

#[test]
fn a_text_from_another_process_takes_the_place_of_what_is_known_here() {
    let (refreshes, first) = (refreshes(), text(0, 0));
    assert_eq!(newer(&refreshes, &text(3, 50), 50), Some(3));
    assert_eq!(newer(&refreshes, &first, 60), Some(3), "it came first with the newest, then with an old one");
    assert_eq!(newer(&refreshes, &first, 50 + GRACE), None);
    assert_eq!(newer(&refreshes, &text(4, 100), 120), Some(4));
    assert_eq!(newer(&refreshes, &text(3, 50), 121), Some(4));
}

#[test]
fn a_refused_session_is_over_and_a_newer_text_of_it_is_not() {
    let (refreshes, first) = (refreshes(), text(0, 0));
    let epoch = refreshes.epoch();
    board(&refreshes, &first, 80).refused();
    assert!(look(&refreshes, &first, 80).is_none() && look(&refreshes, &first, 3000).is_none());
    assert!(refreshes.epoch() > epoch, "every worker looks again");
    assert!(matches!(refreshes.force(&first, at(81)), Forced::Over));
    // Another gateway was faster with the refresh token, and the browser has what it got.
    assert_eq!(newer(&refreshes, &text(1, 80), 81), Some(1));
    assert_eq!(newer(&refreshes, &first, 82), Some(1), "what was under way is served by the newer text");
    assert_eq!(newer(&refreshes, &first, 81 + GRACE), None);
    // A refusal of the old text that comes late does not end the newer one.
    let (late, second) = (self::refreshes(), text(1, 80));
    let turn = board(&late, &first, 80);
    look(&late, &second, 81);
    turn.refused();
    assert_eq!(newer(&late, &second, 82), Some(1));
}

#[test]
fn a_failure_is_followed_by_growing_pauses_in_which_the_session_goes_on() {
    let (refreshes, first) = (refreshes(), text(0, 0));
    let mut now = 80;
    let mut pauses = Vec::new();
    for _ in 0..7 {
        board(&refreshes, &first, now).failed(at(now), None);
        let standing = look(&refreshes, &first, now).unwrap();
        assert!(standing.boarding.is_none() && standing.newer.is_none());
        assert!(matches!(refreshes.force(&first, at(now)), Forced::TooSoon));
        pauses.push(standing.look_again.since(at(now)).as_secs());
        now += pauses.last().unwrap();
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
    let Some(Boarding::Yours(turn, flight)) = look(&refreshes, &first, now).unwrap().boarding else {
        panic!("no turn")
    };
    assert!(!flight.is_first());
    turn.landed(text(1, now), Home::Browser);
    assert!(board(&refreshes, &text(1, now), now + 80).take_held().is_none());
}

#[test]
fn a_store_that_gives_no_answer_makes_no_pause_longer() {
    let (refreshes, first) = (refreshes(), text(0, 0));
    let mut now = 80;
    for _ in 0..7 {
        board(&refreshes, &first, now).postponed(at(now));
        assert_eq!(look(&refreshes, &first, now).unwrap().look_again, at(now + 1));
        now += 1;
    }
    board(&refreshes, &first, now).failed(at(now), Some(granted()));
    board(&refreshes, &first, now + 1).postponed(at(now + 1));
    let turn = board(&refreshes, &first, now + 2);
    turn.failed(at(now + 2), None);
    assert_eq!(look(&refreshes, &first, now + 2).unwrap().look_again, at(now + 4), "the provider failed twice");
}

#[test]
fn what_older_texts_opened_is_over_too_when_the_newest_is_refused() {
    let (refreshes, first) = (refreshes(), text(0, 0));
    assert!(!refreshes.is_refused(&first));
    board(&refreshes, &first, 80).landed(text(1, 80), Home::Browser);
    let second = text(1, 80);
    assert!(!refreshes.is_refused(&first) && !refreshes.is_refused(&second));
    board(&refreshes, &second, 180).refused();
    assert!(refreshes.is_refused(&first) && refreshes.is_refused(&second));
    assert!(!refreshes.is_refused(&text(2, 180)), "another gateway was faster, and the browser has what it got");
}

#[test]
fn what_came_is_kept_while_the_store_gives_no_answer() {
    let (refreshes, first) = (refreshes(), text(0, 0));
    board(&refreshes, &first, 80).failed(at(80), Some(granted()));
    board(&refreshes, &first, 81).postponed(at(81));
    assert_eq!(board(&refreshes, &first, 82).take_held(), Some(granted()));
}

fn granted() -> Granted {
    Granted {
        access_token: "canary".to_owned(),
        refresh_token: None,
        expires_in: None,
        scopes: None,
        id_token: None,
        asked: at(80),
    }
}

#[test]
fn what_came_and_could_not_be_verified_is_handed_to_the_next_try() {
    let (refreshes, first) = (refreshes(), text(0, 0));
    let granted = granted();
    board(&refreshes, &first, 80).failed(at(80), Some(granted.clone()));
    assert_eq!(board(&refreshes, &first, 81).take_held(), Some(granted.clone()));
    // The turn was dropped without a word, as by a panic. What was taken from it is lost, and the pause is kept.
    assert!(look(&refreshes, &first, 81).unwrap().boarding.is_none());
    assert!(!format!("{granted:?}").contains("canary"));
}

#[test]
fn a_forced_refresh_is_single_too_and_tells_every_worker() {
    let (refreshes, first) = (refreshes(), text(0, 0));
    let epoch = refreshes.epoch();
    let Forced::Boarding(Boarding::Yours(turn, _)) = refreshes.force(&first, at(5)) else { panic!("no turn") };
    assert!(matches!(refreshes.force(&first, at(5)), Forced::Boarding(Boarding::UnderWay(_))));
    turn.landed(text(1, 5), Home::Browser);
    assert!(refreshes.epoch() > epoch);
    let Forced::Newer(found) = refreshes.force(&first, at(6)) else { panic!("the refresh was made already") };
    assert_eq!(found.version, 1);
    assert_eq!(newer(&refreshes, &first, 6), Some(1), "though it is not due");
}

#[test]
fn what_is_remembered_is_bounded() {
    let refreshes = refreshes();
    for number in 0..2_000_u32 {
        let mut session = (*text(0, 0)).clone();
        session.id[..4].copy_from_slice(&number.to_be_bytes());
        session.tokens.access_token = Some("a".repeat(60_000));
        let session = Arc::new(session);
        let landed = Session { version: 1, obtained: at(80), ..(*session).clone() };
        board(&refreshes, &session, 80).landed(Arc::new(landed), Home::Browser);
    }
    assert!(refreshes.remembered() < 1_200, "{}", refreshes.remembered());
    assert!(refreshes.remembered() > 200, "{}", refreshes.remembered());
}

#[test]
fn whoever_uses_the_refresh_token_for_something_else_has_the_same_turn() {
    let (refreshes, first) = (refreshes(), text(0, 0));
    let Taken::Yours(turn) = refreshes.take(&first, 0, at(1)) else { panic!("nobody has it") };
    assert!(matches!(refreshes.take(&first, 0, at(1)), Taken::UnderWay(_)));
    assert!(matches!(look(&refreshes, &first, 90).unwrap().boarding, Some(Boarding::UnderWay(_))));
    turn.unchanged();
    assert_eq!(newer(&refreshes, &first, 2), Some(0), "nothing is known of it but what was");
    let Taken::Yours(turn) = refreshes.take(&first, 0, at(2)) else { panic!("it was given back") };
    turn.landed(text(1, 0), Home::Browser);
    let Taken::Yours(turn) = refreshes.take(&first, 0, at(3)) else { panic!("it was given back") };
    assert_eq!(turn.session().version, 1, "the refresh token that came back is the one to use");
    turn.refused();
    assert!(matches!(refreshes.take(&first, 0, at(4)), Taken::Over));
    // A refresh whose answer could not be verified has used it up.
    let second = Arc::new(Session { id: [8; 16], ..(*text(0, 0)).clone() });
    board(&refreshes, &second, 80).failed(at(80), Some(granted()));
    assert!(matches!(refreshes.take(&second, 0, at(200)), Taken::Later));
}

fn key() -> Ticket {
    Ticket::of_moved(text(0, 0).id).unwrap()
}

#[test]
fn what_outgrew_its_cookies_is_found_by_those_from_before_until_the_grace_after_its_key_is_over() {
    let (refreshes, first, key) = (refreshes(), text(0, 0), key());
    board(&refreshes, &first, 80).landed(text(1, 80), Home::store(&key));
    // Whoever comes with the text from before has the newest one refreshed where it lives.
    let Look::Use(standing) = refreshes.look(&first, 0, at(160)) else { panic!("over") };
    let newest = standing.newer.unwrap();
    assert_eq!((newest.version, refreshes.home(&newest)), (1, Home::store(&key)));
    let Some(Boarding::Yours(turn, _)) = standing.boarding else { panic!("the newest is due") };
    assert_eq!(turn.home(), &Home::store(&key));
    turn.landed(text(2, 160), Home::store(&key));
    // A key that leads to less than is known here shows nothing; one that leads to the newest begins the grace.
    refreshes.note_key(&text(1, 80), &key, at(161));
    assert_eq!(newer(&refreshes, &first, 161 + GRACE), Some(2));
    refreshes.note_key(&text(2, 160), &key, at(161 + GRACE));
    assert_eq!(newer(&refreshes, &first, 161 + 2 * GRACE - 1), Some(2));
    assert_eq!(newer(&refreshes, &first, 161 + 2 * GRACE), None);
    let Look::Use(standing) = refreshes.look(&text(2, 160), NOT_IN_THE_BROWSER, at(161 + 2 * GRACE)) else {
        panic!("whoever has the key goes on")
    };
    assert!(standing.newer.is_none());
}

#[test]
fn a_gateway_that_is_shown_a_key_alone_has_older_cookies_end_after_the_grace() {
    let (refreshes, first, key) = (refreshes(), text(0, 0), key());
    refreshes.note_key(&text(1, 80), &key, at(81));
    assert_eq!(newer(&refreshes, &first, 82), Some(1));
    assert_eq!(refreshes.home(&text(1, 80)), Home::store(&key));
    assert_eq!(newer(&refreshes, &first, 81 + GRACE), None);
    // Over and over again it is no news, so the grace does not begin anew.
    refreshes.note_key(&text(1, 80), &key, at(100));
    assert_eq!(newer(&refreshes, &first, 81 + GRACE), None);
}

#[test]
fn what_no_store_took_yet_has_a_home_once_one_did_unless_something_newer_came() {
    let (refreshes, first, key) = (refreshes(), text(0, 0), key());
    board(&refreshes, &first, 80).landed(text(1, 80), Home::Nowhere);
    assert!(refreshes.is_newest(&text(1, 80)) && !refreshes.is_newest(&first));
    assert_eq!(refreshes.home(&text(1, 80)), Home::Nowhere);
    let epoch = refreshes.epoch();
    refreshes.note_moved(&text(1, 80), &key);
    assert!(refreshes.epoch() > epoch, "workers look again");
    assert_eq!(refreshes.home(&text(1, 80)), Home::store(&key));
    let Look::Use(standing) = refreshes.look(&first, 0, at(160)) else { panic!("over") };
    let Some(Boarding::Yours(turn, _)) = standing.boarding else { panic!("due") };
    turn.landed(text(2, 160), Home::Browser);
    refreshes.note_moved(&text(1, 80), &key);
    assert_eq!((newer(&refreshes, &first, 161), refreshes.home(&text(2, 160))), (Some(2), Home::Browser));
    assert!(refreshes.tells_size(&first.id) && !refreshes.tells_size(&first.id), "the log tells of it once");
}
