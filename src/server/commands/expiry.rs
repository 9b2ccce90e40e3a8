//! Commands on when keys expire: EXPIRE, TTL, PERSIST and their kin.

use crate::message::ExpiryChange;
use crate::operation::{self, Effect};
use crate::protocol::resp::reply;
use crate::protocol::resp::request::Arguments;
use crate::server::commands::numbers::{integer, moment};
use crate::server::commands::{CommandError, Context};
use crate::store::View;
use crate::types::WallTime;

pub(super) fn expire(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let now = context.engine.clock.wall();
    expire_from(now, context, arguments, 1000)
}

pub(super) fn pexpire(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let now = context.engine.clock.wall();
    expire_from(now, context, arguments, 1)
}

pub(super) fn expireat(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    expire_from(WallTime(0), context, arguments, 1000)
}

pub(super) fn pexpireat(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    expire_from(WallTime(0), context, arguments, 1)
}

fn expire_from(
    base: WallTime,
    context: &mut Context<'_>,
    arguments: &Arguments<'_>,
    unit_ms: i64,
) -> Result<(), CommandError> {
    let rule = ExpiryRule::parse(arguments)?;
    let amount = integer(&arguments[2])?;
    let at = match moment(base, amount, unit_ms) {
        Some(at) => at,
        // So long ago that it was before 1970: as good as now.
        None if amount < 0 && amount.checked_mul(unit_ms).is_some() => WallTime(0),
        None => return Err(CommandError::ExpireTime),
    };
    change_expiry(context, &arguments[1], ExpiryChange::At(at), |view| rule.allows(view.expires_at(), at))
}

/// When EXPIRE may replace the expiry that is there; a key that never expires counts as expiring at the end of time.
#[derive(Default)]
struct ExpiryRule {
    only_first: bool,
    only_again: bool,
    only_later: bool,
    only_earlier: bool,
}

impl ExpiryRule {
    fn parse(arguments: &Arguments<'_>) -> Result<Self, CommandError> {
        let mut rule = Self::default();
        for option in arguments.iter_from(3, 1) {
            match option.to_ascii_uppercase().as_slice() {
                b"NX" => rule.only_first = true,
                b"XX" => rule.only_again = true,
                b"GT" => rule.only_later = true,
                b"LT" => rule.only_earlier = true,
                _ => {
                    return Err(CommandError::quoting("ERR Unsupported option ", option, ""));
                }
            }
        }
        if rule.only_first && (rule.only_again || rule.only_later || rule.only_earlier) {
            let text = "ERR NX and XX, GT or LT options at the same time are not compatible";
            return Err(CommandError::Other(text.into()));
        }
        if rule.only_later && rule.only_earlier {
            let text = "ERR GT and LT options at the same time are not compatible";
            return Err(CommandError::Other(text.into()));
        }
        Ok(rule)
    }

    fn allows(&self, before: Option<WallTime>, after: WallTime) -> bool {
        !(self.only_first && before.is_some()
            || self.only_again && before.is_none()
            || self.only_later && before.is_none_or(|before| after <= before)
            || self.only_earlier && before.is_some_and(|before| after >= before))
    }
}

pub(super) fn persist(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    change_expiry(context, &arguments[1], ExpiryChange::Clear, |view| view.expires_at().is_some())
}

/// Changes the expiry of a key that is there and for which `applies`; answers 1 if it did.
fn change_expiry(
    context: &mut Context<'_>,
    key: &[u8],
    change: ExpiryChange,
    applies: impl Fn(View<'_>) -> bool,
) -> Result<(), CommandError> {
    let changed = context.update(key, |view, now| match view {
        Some(view) if applies(view) => (operation::expire(Some(view.current()), change, now), 1),
        _ => (Effect::Keep, 0),
    })?;
    reply::integer(context.out.bytes(), changed);
    Ok(())
}

pub(super) fn ttl(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let now = context.engine.clock.wall();
    tell_expiry(context, arguments, |at| to_seconds(at.0.saturating_sub(now.0)))
}

pub(super) fn pttl(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let now = context.engine.clock.wall();
    tell_expiry(context, arguments, |at| at.0.saturating_sub(now.0))
}

pub(super) fn expiretime(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    tell_expiry(context, arguments, |at| to_seconds(at.0))
}

pub(super) fn pexpiretime(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    tell_expiry(context, arguments, |at| at.0)
}

/// Rounds to the nearest.
const fn to_seconds(milliseconds: u64) -> u64 {
    milliseconds.saturating_add(500) / 1000
}

/// Answers when a key expires, as `tell` puts it; -1: never, -2: it is not there.
fn tell_expiry(
    context: &mut Context<'_>,
    arguments: &Arguments<'_>,
    tell: impl FnOnce(WallTime) -> u64,
) -> Result<(), CommandError> {
    let answer = context.read(&arguments[1], |view| {
        view.map_or(-2, |view| view.expires_at().map_or(-1, |at| i64::try_from(tell(at)).unwrap_or(i64::MAX)))
    });
    reply::integer(context.out.bytes(), answer);
    Ok(())
}
