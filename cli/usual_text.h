// The text that commands run where none is given.
#pragma once

// 100 tokens or more in most vocabularies: a prompt, and then the tokens that follow it, one per
// step.
inline constexpr const char* usual_text =
    "The capital of France is Paris, and the river that runs through it is the Seine. In the year "
    "1969 two people walked on the Moon; 600 million others watched them. Water boils at 100 "
    "degrees Celsius at sea level, and at 71 on the top of Mount Everest. \"Why,\" asked the "
    "child, "
    "\"does the same sum give the same answer here, but not there?\" Because numbers in a machine "
    "are rounded, and the order in which they are added decides how: (a + b) + c is not always "
    "a + (b + c).";
