// Not run: read by the fuzzers, for its unwind tables, symbols, and debug information with inlined
// functions, namespaces, templates and lines.

namespace shapes {

template <class Number>
struct Circle {
    Number radius;
    __attribute__((always_inline)) Number area() const { return radius * radius * 3; }
};

struct Square {
    int side;
    __attribute__((noinline)) int area() const { return side * side; }
};

namespace {

__attribute__((noinline)) int grow(int value) {
    volatile int kept = value;
    for (int i = 0; i < value; ++i) kept = kept + i;
    return kept;
}

}  // namespace

template <class Shape>
__attribute__((noinline)) int measure(const Shape& shape) {
    const auto measured = [&](int factor) { return grow(static_cast<int>(shape.area()) * factor); };
    return measured(2) + measured(3);
}

}  // namespace shapes

extern "C" int area_of_circle(int radius) {
    return shapes::measure(shapes::Circle<long>{radius});
}

extern "C" int area_of_square(int side) {
    if (side < 0) return shapes::grow(-side);
    return shapes::measure(shapes::Square{side});
}

/// A frame whose size is not known when it is compiled: its rules need the frame pointer.
extern "C" int with_room(unsigned long size) {
    volatile char* room = static_cast<char*>(__builtin_alloca(size));
    room[0] = 1;
    return room[0] + area_of_circle(static_cast<int>(size));
}
