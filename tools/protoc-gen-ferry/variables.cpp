// SPDX-License-Identifier: MIT
//
// variables.cpp
//
#include "variables.h"

#include "names.h"

using google::protobuf::MethodDescriptor;
using google::protobuf::ServiceDescriptor;

Variables variables_of(const ServiceDescriptor *service) {
    return {
        {"service", service->full_name()},
        {"lower", lower_name(service)},
        {"upper", upper_name(service)},
        {"type", type_name(service)},
        {"server", type_name(service) + "_Server"},
    };
}

Variables variables_of(const MethodDescriptor *method) {
    Variables v = variables_of(method->service());
    v["method"] = method->name();
    v["title"] = method->service()->name() + "." + method->name();
    v["stub"] = v["lower"] + "__" + method_name(method);
    v["member"] = member_name(method);
    v["input"] = type_name(method->input_type());
    v["output"] = type_name(method->output_type());
    v["input_name"] = method->input_type()->full_name();
    v["output_name"] = method->output_type()->full_name();
    v["input_descriptor"] = lower_name(method->input_type()) + "__descriptor";
    v["output_descriptor"] = lower_name(method->output_type()) + "__descriptor";
    return v;
}
