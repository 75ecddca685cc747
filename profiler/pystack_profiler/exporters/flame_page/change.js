// The changes between the two sides of a comparison.

const DEVIATIONS = 1.96; // 95 of 100 are within so many standard deviations; the table's are in Label.chance

/** The changes of boxes: shares of all time of the chosen threads, on the side that is shown and on the other one. */
class Changes {
  /** `side`: the one that is shown. */
  constructor(tree, sides, side) {
    this.tree = tree;
    this.sides = sides;
    this.side = side;
    this.whole = tree.total(tree.root);
    this.otherWhole = tree.other(tree.root);
  }

  /** The shares before and after. */
  shares(node) {
    const shown = this.whole > 0 ? this.tree.total(node) / this.whole : 0;
    const other = this.otherWhole > 0 ? this.tree.other(node) / this.otherWhole : 0;
    return this.side === 1 ? [other, shown] : [shown, other];
  }

  /** What chance explains of a change: as much more than of independent samples as the table says of the function. */
  margin(node) {
    const variances = this.shares(node).map((share, side) => {
      const { samples } = this.sides[side];
      return samples > 0 ? Math.max(0, share * (1 - share)) / samples : 0;
    });
    return DEVIATIONS * this.tree.label(node).chance * Math.sqrt(variances[0] + variances[1]);
  }

  /** The change in shares from before to after; 0 if chance explains it. */
  change(node) {
    const [before, after] = this.shares(node);
    return Math.abs(after - before) > this.margin(node) ? after - before : 0;
  }
}

/** `+1.2 points`. */
function formatPoints(change) {
  const points = 100 * change;
  return `${points < 0 ? "−" : "+"}${Math.abs(points).toFixed(Math.abs(points) < 1 ? 2 : 1)} points`;
}
