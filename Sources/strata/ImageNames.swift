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
    /// The last answer: most containers that are listed one after the other are of one image.
    private var last: (reference: String, image: String, name: String)?

    init(_ engine: Engine) { self.engine = engine }

    func name(_ reference: String, of image: String) throws -> String {
        if let last, last.reference == reference, last.image == image { return last.name }
        let id = try ids[reference] ?? look(up: reference)
        ids[reference] = id
        let name = id == image ? reference : String(image.drop { $0 != ":" }.dropFirst().prefix(12))
        last = (reference, image, name)
        return name
    }

    private func look(up name: String) throws -> String? {
        do {
            return "\(try engine.images.resolve(name).id)"
        } catch let error as StorageError where [.notFound, .invalid].contains(error.code) {
            return nil
        }
    }
}
