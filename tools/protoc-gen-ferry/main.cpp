// SPDX-License-Identifier: MIT
//
// main.cpp - protoc-gen-ferry: typed client stubs and server skeletons in C for the services of a .proto file.
//
// protoc starts it, sends the parsed files to its standard input, and writes the files that it answers with. Which
// file holds what:
//
//     names      how protobuf-c spells the names of messages, services and methods in C
//     options    protobuf-c's own options
//     check      what cannot be translated, with file, line and column (clashes: of names; faults: the list)
//     comments   comments of the .proto, as comments and as strings of C
//     header     writes FILE.ferry.h
//     source     writes FILE.ferry.c
//     variables  what the texts of both have in common
//     glue       the part of FILE.ferry.c that is the same for all services
//
#include "generator.h"

#include <google/protobuf/compiler/plugin.h>

#include <iostream>
#include <string>

int main(int argc, char **argv) {
    if (argc == 2 && std::string(argv[1]) == "--version") {
        std::cout << "protoc-gen-ferry " FERRY_VERSION "\n";
        return 0;
    }
    if (argc > 1) {
        std::cerr << "protoc-gen-ferry: protoc runs this: protoc --ferry_out=DIRECTORY --c_out=DIRECTORY FILE.proto\n";
        return 2;
    }
    Generator generator;
    return google::protobuf::compiler::PluginMain(argc, argv, &generator);
}
