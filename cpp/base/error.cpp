#include "base/error.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace pystack {

std::string_view error_code_name(ErrorCode code) {
    switch (code) {
        case ErrorCode::kReadFault:
            return "ReadFault";
        case ErrorCode::kCorruptData:
            return "CorruptData";
        case ErrorCode::kNoSuchProcess:
            return "NoSuchProcess";
        case ErrorCode::kTargetExited:
            return "TargetExited";
        case ErrorCode::kPermissionDenied:
            return "PermissionDenied";
        case ErrorCode::kNotPython:
            return "NotPython";
        case ErrorCode::kNotACore:
            return "NotACore";
        case ErrorCode::kCoreTruncated:
            return "CoreTruncated";
        case ErrorCode::kMissingBinary:
            return "MissingBinary";
        case ErrorCode::kUnsupportedTarget:
            return "UnsupportedTarget";
        case ErrorCode::kVersionUnsupported:
            return "VersionUnsupported";
        case ErrorCode::kOffsetsRejected:
            return "OffsetsRejected";
        case ErrorCode::kInvalidArgument:
            return "InvalidArgument";
        case ErrorCode::kOutOfMemory:
            return "OutOfMemory";
        case ErrorCode::kCancelled:
            return "Cancelled";
        case ErrorCode::kSystem:
            return "System";
    }
    return "Unknown";
}

std::string Error::message() const {
    char place[96];
    switch (code) {
        case ErrorCode::kReadFault:
            std::snprintf(place, sizeof place, "cannot read %llu bytes of the target at 0x%llx",
                          static_cast<unsigned long long>(size),
                          static_cast<unsigned long long>(address.value));
            return place;
        case ErrorCode::kCorruptData:
            std::snprintf(place, sizeof place, " at 0x%llx is not valid",
                          static_cast<unsigned long long>(address.value));
            return std::string(what) + place;
        default:
            break;
    }
    if (!detail.empty()) return detail;
    return *what != '\0' ? std::string(what) : std::string(error_code_name(code));
}

Error system_error(const char* call, std::string_view subject) {
    const int number = errno;
    std::string text = call;
    if (subject.empty())
        text.append(" failed");
    else
        text.insert(0, "cannot ").append(" ").append(subject);
    text.append(": ").append(std::strerror(number));
    return Error{.code = ErrorCode::kSystem, .number = number, .what = call, .detail = text};
}

}  // namespace pystack
