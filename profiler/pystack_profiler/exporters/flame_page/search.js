// The boxes that a search finds, and their share of the time.

class Search {
  /** Throws SyntaxError if the regular expression is not valid. */
  constructor(recording, text, isRegex) {
    this.isEmpty = text === "";
    this.labels = new Uint8Array(recording.labels.length); // 1: found
    if (this.isEmpty) return;
    const withPath = text.includes("/");
    const isFound = isRegex ? matcher(new RegExp(text, "i")) : containing(text.toLowerCase());
    for (const label of recording.labels) {
      const where = withPath ? label.position : label.fileName;
      this.labels[label.index] = isFound(where ? `${label.name} ${where}` : label.name) ? 1 : 0;
    }
  }

  finds(label) {
    return this.labels[label.index] === 1;
  }

  /**
   * For each box of a call tree, the time of the stacks through it that contain a found box. Each stack counts once, even
   * with several found boxes. Box 0 has the total.
   */
  found(calls) {
    const weights = new Float64Array(calls.size);
    const isFound = new Uint8Array(calls.size);
    for (let node = 1; node < calls.size; node++) {
      isFound[node] = isFound[calls.parents[node]] | this.labels[calls.labelIds[node]];
      if (isFound[node]) weights[node] = calls.selves[node];
    }
    for (let node = calls.size - 1; node > 0; node--) weights[calls.parents[node]] += weights[node];
    return weights;
  }
}

function matcher(expression) {
  return (text) => expression.test(text);
}

function containing(part) {
  return (text) => text.toLowerCase().includes(part);
}

/** The time of all stacks that contain a label. */
function weightOfLabel(calls, label) {
  const { outermost } = calls.columns;
  let weight = 0;
  for (let node = 1; node < calls.size; node++) if (calls.labelIds[node] === label.index && outermost[node]) weight += calls.totals[node];
  return weight;
}
