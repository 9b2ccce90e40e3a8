//! What a machine keeps is bounded by the nodes of the cluster.

/// Timers, suspicions and news of a machine, at most.
pub(crate) const fn bound(nodes: usize) -> usize {
    16 + 4 * nodes
}

pub(crate) fn judge(node: usize, nodes: usize, backlog: usize) -> Option<String> {
    (backlog > bound(nodes)).then(|| format!("node {node} keeps {backlog} things for {nodes} nodes"))
}
