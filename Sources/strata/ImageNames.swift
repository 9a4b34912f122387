// SPDX-License-Identifier: Apache-2.0

import Engine
import Images
import Storage

/// What `ps` calls the image of a container: the name that was asked for while it leads there, else the id.
///
/// Cost: one look-up for each name, however many containers have it.
final class ImageNames {
    private let engine: Engine
    private var ids: [String: String?] = [:]

    init(_ engine: Engine) { self.engine = engine }

    func name(_ reference: String, of image: String) throws -> String {
        let id: String?
        if let known = ids[reference] {
            id = known
        } else {
            id = try look(up: reference)
            ids[reference] = id
        }
        if id == image { return reference }
        return String(image.drop { $0 != ":" }.dropFirst().prefix(12))
    }

    private func look(up name: String) throws -> String? {
        do {
            return "\(try engine.images.resolve(name).id)"
        } catch let error as StorageError where [.notFound, .invalid].contains(error.code) {
            return nil
        }
    }
}
