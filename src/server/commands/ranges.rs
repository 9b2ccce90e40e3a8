//! Commands on parts of a value: GETRANGE, SETRANGE.

use crate::operation::{self, Effect};
use crate::protocol::resp::reply;
use crate::protocol::resp::request::Arguments;
use crate::server::commands::numbers::integer;
use crate::server::commands::strings::check_sizes;
use crate::server::commands::{CommandError, Context};
use crate::store::View;

pub(super) fn getrange(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let (start, end) = (integer(&arguments[2])?, integer(&arguments[3])?);
    let engine = &*context.engine;
    let out = context.out.bytes();
    engine.shared.store.get(context.hash, &arguments[1], engine.clock.wall(), |view| {
        reply::bulk(out, operation::range(view.map_or(&[], View::value), start, end));
    });
    Ok(())
}

pub(super) fn setrange(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let (key, part) = (&arguments[1], &arguments[3]);
    let offset = usize::try_from(integer(&arguments[2])?).map_err(|_| CommandError::Offset)?;
    check_sizes(context.engine, key, part.len())?;
    let bytes_max = context.engine.shared.limits.value_bytes_max;
    let mut scratch = Vec::new();
    let length = context.update(key, |view, _| {
        match operation::set_range(view.map(View::current), offset, part, bytes_max, &mut scratch) {
            Ok((effect, length)) => (effect, Ok(length)),
            Err(rejection) => (Effect::Keep, Err(rejection)),
        }
    })?;
    let length = length.map_err(|_| CommandError::ValueTooLarge)?;
    reply::integer(context.out.bytes(), length as i64);
    Ok(())
}
