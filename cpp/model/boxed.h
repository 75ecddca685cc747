#pragma once

#include <memory>
#include <utility>

namespace pystack::model {

/// An optional that is as small as a pointer while it is empty, for what few of very many have.
template <class T>
class Boxed {
  public:
    Boxed() = default;
    Boxed(T value)  // NOLINT(google-explicit-constructor)
        : value_(std::make_unique<T>(std::move(value))) {}
    Boxed(const Boxed& other) : value_(other ? std::make_unique<T>(*other) : nullptr) {}
    Boxed(Boxed&&) noexcept = default;
    Boxed& operator=(Boxed other) noexcept {
        value_ = std::move(other.value_);
        return *this;
    }
    ~Boxed() = default;

    T& emplace() {
        value_ = std::make_unique<T>();
        return *value_;
    }
    explicit operator bool() const { return value_ != nullptr; }
    T& operator*() { return *value_; }
    const T& operator*() const { return *value_; }
    T* operator->() { return value_.get(); }
    const T* operator->() const { return value_.get(); }
    T value_or(T other) const { return value_ ? *value_ : std::move(other); }

  private:
    std::unique_ptr<T> value_;
};

}  // namespace pystack::model
