// The boxes that a search finds, and their share of the time.

const STEPS_PER_LABEL = 50; // as long as so many steps of a loop

class Search {
  /** Throws SyntaxError if the regular expression is not valid. */
  constructor(recording, text, isRegex) {
    this.recording = recording;
    this.isEmpty = text === "";
    this.withPath = text.includes("/");
    this.isFound = isRegex ? matcher(new RegExp(text, "i")) : containing(text.toLowerCase());
    this.labels = new Uint8Array(recording.labels.length); // 1: found, of those that were looked at
    this.isDone = this.isEmpty;
  }

  /** Looks at all labels. */
  *looking() {
    const { labels } = this.recording;
    if (!this.isDone) yield* inChunks(0, labels.length, (from, to) => {
      for (let index = from; index < to; index++) this.#look(labels[index]);
    }, STEPS_PER_LABEL);
    this.isDone = true;
  }

  #look(label) {
    const where = this.withPath ? label.position : label.fileName;
    this.labels[label.index] = this.isFound(where ? `${label.name} ${where}` : label.name) ? 1 : 0;
  }

  finds(label) {
    return this.labels[label.index] === 1;
  }

  /**
   * For each box of a call tree, the time of the stacks through it that contain a found box. Each stack counts once, even
   * with several found boxes. Box 0 has the total.
   */
  *finding({ size, columns, selves }) {
    yield* this.looking();
    const { parents, labelIds } = columns;
    const { labels } = this;
    const weights = new Float64Array(size);
    const isFound = new Uint8Array(size);
    yield* inChunks(1, size, (from, to) => {
      for (let node = from; node < to; node++) {
        isFound[node] = isFound[parents[node]] | labels[labelIds[node]];
        if (isFound[node]) weights[node] = selves[node];
      }
    });
    return yield* columns.sums(weights);
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
