#include "cpython/values/value_renderer.h"

#include <utility>

#include "cpython/objects/value_types.h"
#include "cpython/values/rendering.h"
#include "memory/page_cache.h"

namespace pystack::cpython {

class ValueRenderer::State {
  public:
    State(const memory::MemoryReader& memory, const Layout& of, const RenderLimits& limits,
          Redaction hidden)
        : redaction(std::move(hidden)),
          layout(of),
          heap(memory),
          types(heap, layout),
          rendering(heap, layout, types, limits, redaction) {}

    const Redaction redaction;
    const Layout layout;
    memory::PageCache heap;
    TypeCache types;
    Rendering rendering;
};

ValueRenderer::ValueRenderer(const memory::MemoryReader& memory, const Layout& layout,
                             const RenderLimits& limits, Redaction redaction)
    : state_(std::make_unique<State>(memory, layout, limits, std::move(redaction))) {}

ValueRenderer::~ValueRenderer() = default;

void ValueRenderer::reset() {
    state_->heap.freeze(false);
    state_->heap.copy_again();
    state_->types.clear();
    state_->rendering.forget();
}

void ValueRenderer::freeze() {
    state_->heap.freeze(true);
}

void ValueRenderer::unfreeze() {
    state_->heap.freeze(false);
}

std::size_t ValueRenderer::misses() const {
    return state_->heap.misses();
}

void ValueRenderer::begin(double part) {
    state_->rendering.begin_thread();
    add_rest(part);
}

void ValueRenderer::add_rest(double part) {
    const auto all = static_cast<double>(state_->rendering.limits.max_bytes);
    state_->rendering.add_budget(static_cast<std::uint64_t>(part * all));
}

bool ValueRenderer::spent() const {
    return state_->rendering.spent();
}

void ValueRenderer::fetch(std::span<const RemoteAddr> objects) {
    state_->heap.fetch(objects);
}

std::string ValueRenderer::render(RemoteAddr object) {
    return render(object, Depth::kFull).value;
}

ValueRenderer::Text ValueRenderer::render(RemoteAddr object, Depth depth) {
    Rendering& rendering = state_->rendering;
    if (rendering.spent())
        return {.value = "<not read: byte budget spent>", .type_name = {}, .is_cut = true};
    rendering.begin_value(depth == Depth::kFull ? rendering.limits.max_depth : 0);
    rendering.value(object);
    rendering.charge(rendering.out.size());
    return {.value = std::move(rendering.out),
            .type_name = {},
            .is_cut = rendering.was_too_deep() || rendering.exhausted()};
}

std::optional<ValueRenderer::Text> ValueRenderer::render_variable(RemoteAddr object, Depth depth) {
    auto type = state_->types.of(object);
    const FieldOffset content = state_->layout.cell_object.ob_ref;
    if (type && (*type)->kind == ValueKind::kCell && content) {
        const auto held = state_->heap.read_pointer(object + *content);
        if (held && !*held) return std::nullopt;
        if (held) {
            object = *held;
            type = state_->types.of(object);
        }
    }
    Text text = render(object, depth);
    if (type) text.type_name = state_->types.full_name(**type);
    return text;
}

bool ValueRenderer::hides(std::string_view name) const {
    return state_->redaction.hides(name);
}

bool ValueRenderer::is_dict(RemoteAddr object) {
    const auto type = state_->types.of(object);
    if (!type) return false;
    const ValueKind kind = (*type)->kind;
    return kind == ValueKind::kDict || kind == ValueKind::kOrderedDict ||
           kind == ValueKind::kDefaultDict;
}

bool ValueRenderer::is_str(RemoteAddr object) {
    const auto type = state_->types.of(object);
    return type && (*type)->kind == ValueKind::kStr;
}

const memory::MemoryReader& ValueRenderer::memory() const {
    return state_->heap;
}

}  // namespace pystack::cpython
