#include "symbols/form_value.h"

namespace pystack::symbols {

FormValue take_value(modules::ByteCursor& cursor, std::uint16_t form, std::int64_t constant,
                     FormSizes sizes) {
    using namespace modules::dwarf;
    if (form == kFormIndirect) {
        const std::uint64_t actual = cursor.take_uleb128();
        // Neither makes sense here: one has its value elsewhere, the other would go on for ever.
        const bool is_valid =
            actual < UINT16_MAX && actual != kFormIndirect && actual != kFormImplicitConstant;
        form = is_valid ? static_cast<std::uint16_t>(actual) : std::uint16_t{kFormAbsent};
    }
    FormValue value{.form = form};
    switch (form) {
        case kFormAddress:
            value.number = cursor.take_number(kAddressSize);
            break;
        case kFormData1:
        case kFormRef1:
        case kFormFlag:
        case kFormStrX1:
        case kFormAddressX1:
            value.number = cursor.take_number(1);
            break;
        case kFormData2:
        case kFormRef2:
        case kFormStrX2:
        case kFormAddressX2:
            value.number = cursor.take_number(2);
            break;
        case kFormStrX3:
        case kFormAddressX3:
            value.number = cursor.take_number(3);
            break;
        case kFormData4:
        case kFormRef4:
        case kFormStrX4:
        case kFormAddressX4:
        case kFormRefSup4:
            value.number = cursor.take_number(4);
            break;
        case kFormData8:
        case kFormRef8:
        case kFormRefSignature:
        case kFormRefSup8:
            value.number = cursor.take_number(8);
            break;
        case kFormData16:
            cursor.skip(16);
            break;
        case kFormSData:
            value.number = static_cast<std::uint64_t>(cursor.take_sleb128());
            break;
        case kFormUData:
        case kFormRefUData:
        case kFormStrX:
        case kFormAddressX:
        case kFormLocationListX:
        case kFormRangeListX:
        case kFormGnuAddressIndex:
        case kFormGnuStringIndex:
            value.number = cursor.take_uleb128();
            break;
        case kFormStrP:
        case kFormLineStrP:
        case kFormStrPSup:
        case kFormSectionOffset:
        case kFormGnuRefAlternate:
        case kFormGnuStrPAlternate:
            value.number = cursor.take_number(sizes.offset_size);
            break;
        case kFormRefAddress:
            value.number = cursor.take_number(sizes.version < 3 ? kAddressSize : sizes.offset_size);
            break;
        case kFormString:
            value.text = cursor.take_text();
            break;
        case kFormBlock1:
            cursor.skip(cursor.take_number(1));
            break;
        case kFormBlock2:
            cursor.skip(cursor.take_number(2));
            break;
        case kFormBlock4:
            cursor.skip(cursor.take_number(4));
            break;
        case kFormBlock:
        case kFormExpression:
            cursor.skip(cursor.take_uleb128());
            break;
        case kFormFlagPresent:
            value.number = 1;
            break;
        case kFormImplicitConstant:
            value.number = static_cast<std::uint64_t>(constant);
            break;
        default:
            // Nobody knows how long it is.
            cursor.skip(UINT64_MAX);
            break;
    }
    if (cursor.failed()) return {};
    return value;
}

bool is_constant(std::uint16_t form) {
    using namespace modules::dwarf;
    return form == kFormData1 || form == kFormData2 || form == kFormData4 || form == kFormData8 ||
           form == kFormUData || form == kFormSData || form == kFormImplicitConstant;
}

bool is_address(std::uint16_t form) {
    using namespace modules::dwarf;
    return form == kFormAddress || form == kFormAddressX || form == kFormAddressX1 ||
           form == kFormAddressX2 || form == kFormAddressX3 || form == kFormAddressX4 ||
           form == kFormGnuAddressIndex;
}

}  // namespace pystack::symbols
