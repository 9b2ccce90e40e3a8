//! Commands on a value as a string of bits: GETBIT, SETBIT, BITCOUNT, BITPOS.

use crate::operation::bits::{self, Unit};
use crate::operation::{self, Effect};
use crate::protocol::resp::reply;
use crate::protocol::resp::request::Arguments;
use crate::server::commands::numbers::integer;
use crate::server::commands::strings::check_sizes;
use crate::server::commands::{CommandError, Context};
use crate::store::View;

fn offset_of(context: &Context<'_>, argument: &[u8]) -> Result<u64, CommandError> {
    let offset = operation::parse_integer(argument).and_then(|offset| u64::try_from(offset).ok());
    let bits_max = 8 * context.engine.shared.limits.value_bytes_max as u64;
    offset.filter(|&offset| offset < bits_max).ok_or(CommandError::BitOffset)
}

pub(super) fn getbit(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let offset = offset_of(context, &arguments[2])?;
    let bit = context.read(&arguments[1], |view| view.is_some_and(|view| bits::bit(view.value(), offset)));
    reply::integer(context.out.bytes(), i64::from(bit));
    Ok(())
}

pub(super) fn setbit(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let key = &arguments[1];
    check_sizes(context.engine, key, 0)?;
    let offset = offset_of(context, &arguments[2])?;
    let on = match operation::parse_integer(&arguments[3]) {
        Some(bit @ (0 | 1)) => bit == 1,
        _ => return Err(CommandError::Other("ERR bit is not an integer or out of range".into())),
    };
    let bytes_max = context.engine.shared.limits.value_bytes_max;
    let mut scratch = Vec::new();
    let was = context.update(key, |view, _| {
        match bits::set_bit(view.map(View::current), offset, on, bytes_max, &mut scratch) {
            Ok((effect, was)) => (effect, Ok(was)),
            Err(rejection) => (Effect::Keep, Err(rejection)),
        }
    })?;
    let was = was.map_err(|_| CommandError::ValueTooLarge)?;
    reply::integer(context.out.bytes(), i64::from(was));
    Ok(())
}

/// `BIT` or `BYTE`.
fn unit_of(argument: Option<&[u8]>) -> Result<Unit, CommandError> {
    match argument {
        None => Ok(Unit::Byte),
        Some(name) if name.eq_ignore_ascii_case(b"byte") => Ok(Unit::Byte),
        Some(name) if name.eq_ignore_ascii_case(b"bit") => Ok(Unit::Bit),
        Some(_) => Err(CommandError::Syntax),
    }
}

pub(super) fn bitcount(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    // As Redis 7.0 does, options are only looked at when there is something to count.
    let count = context.read(&arguments[1], |view| {
        let Some(view) = view else { return Ok(0) };
        let (start, end) = match arguments.len() {
            2 => (0, -1),
            4 | 5 => (integer(&arguments[2])?, integer(&arguments[3])?),
            _ => return Err(CommandError::Syntax),
        };
        if start < 0 && end < 0 && start > end {
            return Ok(0);
        }
        Ok(bits::count(view.value(), start, end, unit_of(arguments.get(4))?))
    })?;
    reply::integer(context.out.bytes(), count as i64);
    Ok(())
}

pub(super) fn bitpos(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let on = match integer(&arguments[2])? {
        bit @ (0 | 1) => bit == 1,
        _ => return Err(CommandError::Other("ERR The bit argument must be 1 or 0.".into())),
    };
    let position = context.read(&arguments[1], |view| {
        // A key that is not there is an endless row of zeros.
        let Some(view) = view else { return Ok(if on { -1 } else { 0 }) };
        if arguments.len() > 6 {
            return Err(CommandError::Syntax);
        }
        let start = arguments.get(3).map_or(Ok(0), integer)?;
        let unit = unit_of(arguments.get(5))?;
        let end = arguments.get(4).map(integer).transpose()?;
        let found = bits::position(view.value(), on, start, end.unwrap_or(-1), unit);
        let zeros_follow = !on && end.is_none() && bits::count(view.value(), start, -1, unit) > 0;
        Ok(match found {
            Some(position) => position as i64,
            None if zeros_follow => 8 * view.value().len() as i64,
            None => -1,
        })
    })?;
    reply::integer(context.out.bytes(), position);
    Ok(())
}
