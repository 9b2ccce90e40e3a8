//! What somebody was told is carried out is there once all is whole, at every node.

use annulus::message::topology::Command;

use crate::world::World;

/// Judges a world that was healed.
pub(crate) fn broken<const BUG: usize>(world: &World<BUG>) -> Option<String> {
    let (furthest, agreed) = world.agreed.furthest()?;
    let behind = world.processes.iter().find(|process| {
        let applied = process.machine.as_ref().map(|machine| (machine.applied(), machine.topology()));
        !process.entered || applied != Some((furthest, agreed))
    });
    if let Some(process) = behind {
        let applied = process.machine.as_ref().map(annulus::cluster::topology::TopologyLog::applied);
        return Some(format!(
            "{} entered: {}, is at {applied:?} of {furthest}",
            process.name, process.entered
        ));
    }
    let lost = world.told.iter().find(|command| match command {
        // A life that ended is followed by another.
        Command::Enter(entrance) => agreed.node_named(&entrance.name).is_none(),
        Command::Remove { node } => agreed.nodes.contains_key(node),
        // Nobody holds keys here.
        Command::Recovered { .. }
        | Command::Move { .. }
        | Command::Filled { .. }
        | Command::CallOff { .. }
        | Command::Revoke { .. } => false,
        // A setting may have been followed by another since.
        Command::Set(_) => !world.agreed.ever(command),
    });
    lost.map(|command| format!("{command:?} was carried out, and is not there"))
}
